"""A training as an MLflow run: settings, loss and mAP by epoch, the files; at the end a registered, proved version."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.training.checkpoint import EpochMetrics
from model_wrappers.darknet.training.errors import TrainingError

TRAINED_FOLDER = "trained"
SETTINGS_NAME = "settings.json"
LOSS, RATE, MAP50 = "loss", "rate", "map50"
AP50 = "ap50."
MAX_RESULTS = 1000  # versions of one run: more than one is already odd


@contextmanager
def _mlflow() -> Iterator[None]:
    """What MLflow or its artifact store refuse, or that they cannot be reached, as an error of a training."""
    from boto3.exceptions import Boto3Error  # of an upload; below neither of botocore's
    from botocore.exceptions import BotoCoreError, ClientError
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as exc:
        raise TrainingError(f"MLflow: {exc}") from exc
    except (Boto3Error, BotoCoreError, ClientError) as exc:
        raise TrainingError(f"MLflow's artifacts in S3: {exc}") from exc


def check_registration(name: str, alias: str) -> None:
    """Refuse a model's name or an alias before the hours that a training may take. Raises TrainingError."""
    from model_wrappers.mlflow_darknet.registration import check_version_labels

    with _mlflow():
        check_version_labels(name, [alias] if alias else [], {})


class MlflowRun:
    """Opens a run of ``experiment``, or goes on with ``run_id``. Epochs that it has are not logged again.

    Where MLflow is comes from its own variables (``MLFLOW_TRACKING_URI``, ...). Raises TrainingError, as does every
    method, where MLflow cannot be reached after its own retries or refuses; also where it does not know ``run_id``. A
    new run gets ``facts`` as parameters and as its first artifact: keys that S3 refuses are found before the first epoch.
    """

    def __init__(
        self, experiment: str, *, name: str, facts: Mapping[str, Any], classes: Sequence[str], run_id: str = ""
    ) -> None:
        from mlflow import MlflowClient

        self._metric_names = metric_names(classes)
        with _mlflow():
            self._client = MlflowClient()
            self.run_id = self._known(run_id, experiment) if run_id else self._new(experiment, name, facts)
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
        values |= {self._metric_names[name]: value for name, value in (metrics.classes or {}).items()}
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
        self,
        files: ModelFolder,
        name: str,
        *,
        photos: tuple[Path, ...] = (),
        licence: str = "",
        alias: str = "",
        why: str = "",
    ) -> str:
        """The version of ``name`` that this run made, registered now unless an earlier try did.

        ``alias`` is pointed at it, with a record of who trains and ``why``.
        """
        from model_wrappers import mlflow_darknet

        with _mlflow():
            version = self._registered(name)
            if not version:
                with self._active():
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
                mlflow_darknet.set_alias(name, alias, version, why=why)
        return version

    def end(self, status: str) -> None:
        """``FINISHED``, ``FAILED``, or ``KILLED`` where it was told to stop."""
        with _mlflow():
            self._client.set_terminated(self.run_id, status)

    @contextmanager
    def _active(self) -> Iterator[None]:
        """As MLflow's present run, also inside one that a notebook has open. Only a run of the set experiment can be that."""
        import mlflow

        mlflow.set_experiment(experiment_id=self._client.get_run(self.run_id).info.experiment_id)
        with mlflow.start_run(run_id=self.run_id, nested=True):
            yield

    def _registered(self, name: str) -> str:
        """A version counts when it has its digest, which is written last; one without is what a killed try left."""
        from model_wrappers.mlflow_darknet import DIGEST_TAG

        found = self._client.search_model_versions(f"run_id = '{self.run_id}'", max_results=MAX_RESULTS)
        mine = sorted((one for one in found if one.name == name), key=lambda one: int(one.version))
        for one in mine:
            if DIGEST_TAG not in one.tags:
                self._client.delete_model_version(name, str(one.version))
        return next((str(one.version) for one in reversed(mine) if DIGEST_TAG in one.tags), "")

    def _known(self, run_id: str, experiment: str) -> str:
        from mlflow.exceptions import MlflowException

        subject = f"run {run_id}, which the checkpoint names,"
        try:
            found = self._client.get_run(run_id).info.experiment_id
            known = self._client.get_experiment(found).name
            if known != experiment:
                raise TrainingError(
                    f"{subject} is of the experiment {known!r}: give that one instead of {experiment!r}"
                )
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException as exc:
            raise TrainingError(
                f"{subject} cannot go on in MLflow ({exc}): restore it there, or begin anew (--fresh; Session(fresh=True))"
            ) from exc
        return run_id

    def _new(self, experiment: str, name: str, facts: Mapping[str, Any]) -> str:
        import mlflow
        from mlflow.entities import Param

        run_id = str(
            self._client.create_run(mlflow.set_experiment(experiment).experiment_id, run_name=name).info.run_id
        )
        try:
            self._client.log_batch(run_id, params=[Param(key, str(value)) for key, value in facts.items()])
            self._client.log_dict(run_id, dict(facts), SETTINGS_NAME)
        except BaseException:
            self._client.set_terminated(run_id, "FAILED")
            raise
        return run_id


def metric_names(classes: Sequence[str]) -> dict[str, str]:
    """The metric of each class's AP. MLflow allows letters, digits and a few signs; no two classes get the same one.

    A slash would be a path, of which MLflow allows only some; some databases know no case.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for one in classes:
        plain = AP50 + "".join(char if char.isalnum() or char in "_-. " else "_" for char in one)
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain} {number}"
        taken.add(name.casefold())
        names[one] = name
    return names
