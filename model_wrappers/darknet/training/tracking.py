"""A training as an MLflow run: settings, loss and mAP by epoch, the files; at the end a registered, proved version."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.training.checkpoint import EpochMetrics
from model_wrappers.darknet.training.errors import TrainingError

TRAINED_FOLDER = "trained"
LOSS, RATE, MAP50 = "loss", "rate", "map50"
MAX_RESULTS = 1000  # versions of one run: more than one is already odd


@contextmanager
def _mlflow() -> Iterator[None]:
    """What MLflow refuses, or that it cannot be reached, as an error of a training."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as exc:
        raise TrainingError(f"MLflow: {exc}") from exc


def check_registration(name: str, alias: str) -> None:
    """Refuse a model's name or an alias before the hours that a training may take. Raises TrainingError."""
    from model_wrappers.mlflow_darknet.registration import check_version_labels

    with _mlflow():
        check_version_labels(name, [alias] if alias else [], {})


class MlflowRun:
    """Opens a run of ``experiment``, or goes on with ``run_id``. Epochs that it has are not logged again.

    Where MLflow is comes from its own variables (``MLFLOW_TRACKING_URI``, ...). Raises TrainingError, as does every
    method, where MLflow cannot be reached after its own retries or refuses; also where it does not know ``run_id``.
    """

    def __init__(self, experiment: str, *, name: str, facts: Mapping[str, Any], run_id: str = "") -> None:
        from mlflow import MlflowClient

        with _mlflow():
            self._client = MlflowClient()
            self.run_id = self._known(run_id) if run_id else self._new(experiment, name, facts)
            history = self._client.get_metric_history(self.run_id, LOSS)
        self._logged = max((metric.step for metric in history), default=0)

    def step(self, done: int, steps: int, loss: float) -> None:
        """Steps are too many to be logged one by one."""

    def epoch(self, metrics: EpochMetrics, epochs: int) -> None:
        from mlflow.entities import Metric

        if metrics.epoch <= self._logged:
            return
        values = {LOSS: metrics.loss, RATE: metrics.rate}
        if metrics.map50 is not None:
            values[MAP50] = metrics.map50
        values |= {f"ap50.{_metric_name(name)}": value for name, value in (metrics.classes or {}).items()}
        now = int(time.time() * 1000)
        with _mlflow():
            batch = [Metric(name, value, now, metrics.epoch) for name, value in values.items()]
            self._client.log_batch(self.run_id, metrics=batch)

    def keep(self, files: Iterable[Path]) -> None:
        """As the run's artifacts."""
        with _mlflow():
            for path in files:
                self._client.log_artifact(self.run_id, str(path), TRAINED_FOLDER)

    def register(
        self, files: ModelFolder, name: str, *, photos: tuple[Path, ...] = (), licence: str = "", alias: str = ""
    ) -> str:
        """The version of ``name`` that this run made, registered now unless an earlier try did. Sets ``alias``."""
        import mlflow

        from model_wrappers import mlflow_darknet

        with _mlflow():
            version = self._registered(name)
            if not version:
                with mlflow.start_run(run_id=self.run_id):
                    info = mlflow_darknet.log_model(
                        cfg=files.cfg_path,
                        weights=files.weights_path,
                        names=files.names_path,
                        registered_model_name=name,
                        photos=photos,
                        licence=licence,
                    )
                version = str(info.registered_model_version)
            if alias:
                mlflow_darknet.set_alias(name, alias, version)
        return version

    def end(self, status: str) -> None:
        """``FINISHED`` or ``FAILED``."""
        with _mlflow():
            self._client.set_terminated(self.run_id, status)

    def _registered(self, name: str) -> str:
        """A version counts when it has its digest, which is written last."""
        from model_wrappers.mlflow_darknet import DIGEST_TAG

        found = self._client.search_model_versions(f"name = '{name}'", max_results=MAX_RESULTS)
        mine = [one for one in found if one.run_id == self.run_id and DIGEST_TAG in one.tags]
        return str(mine[0].version) if mine else ""

    def _known(self, run_id: str) -> str:
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException as exc:
            raise TrainingError(f"run {run_id}, which the checkpoint names, cannot go on in MLflow: {exc}") from exc
        return run_id

    def _new(self, experiment: str, name: str, facts: Mapping[str, Any]) -> str:
        import mlflow
        from mlflow.entities import Param

        run = self._client.create_run(mlflow.set_experiment(experiment).experiment_id, run_name=name)
        self._client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in facts.items()])
        return str(run.info.run_id)


def _metric_name(name: str) -> str:
    """MLflow allows letters, digits and a few signs in the name of a metric."""
    return "".join(char if char.isalnum() or char in "_-. /" else "_" for char in name)
