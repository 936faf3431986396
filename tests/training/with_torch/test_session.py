"""A session and MLflow: what MLflow is told, when, and that it is told nothing untrue."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import cv2
import mlflow
import pytest
import torch
from botocore.exceptions import NoCredentialsError
from mlflow.utils.validation import _validate_metric_name

from model_wrappers.darknet.training.checkpoint import CHECKPOINT_NAME, load_checkpoint
from model_wrappers.darknet.training.errors import CheckpointError, Interrupted, PlaceError, TrainingError
from model_wrappers.darknet.training.places import FolderPlace
from model_wrappers.darknet.training.session import Session, run_session
from model_wrappers.darknet.training.settings import Settings
from model_wrappers.darknet.training.tracking import metric_names
from model_wrappers.darknet.training.voc import VocPhotos, load_voc
from tests.training.voc_folder import NAMES, write_voc
from tests.training.with_torch.killed import CONTEXT
from tests.training.with_torch.networks import write_cfg
from tests.waiting import wait_until

pytestmark = [  # MLflow's own, with its SQL store in this process
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_cfg(tmp_path)
    return write_voc(tmp_path / "voc", train=8, val=3).parent


@pytest.fixture
def photos(folder: Path) -> VocPhotos:
    return load_voc(folder / "voc", "train", NAMES)


@pytest.fixture
def validation(folder: Path) -> VocPhotos:
    return load_voc(folder / "voc", "val", NAMES)


def session(folder: Path, experiment: str, **more: Any) -> Session:
    files = {"cfg": folder / "small.cfg", "names": folder / "small.names", "to": str(folder / "out")}
    settings = Settings(epochs=2, batch=4, validate_every=1)
    return Session(**{**files, "settings": settings, "device": "cpu", "experiment": experiment, **more})


def runs(tracking: mlflow.MlflowClient, experiment: str) -> list[Any]:
    found = tracking.get_experiment_by_name(experiment)
    return [] if found is None else list(tracking.search_runs([str(found.experiment_id)]))


class StopsIn:
    """A photo set that asks for a stop, as Ctrl-C does, when a photo is read for the ``count``-th time."""

    def __init__(self, photos: VocPhotos, count: int) -> None:
        self._photos, self._left = photos, count
        self.names, self.fingerprint = photos.names, photos.fingerprint

    def __len__(self) -> int:
        return len(self._photos)

    def read(self, index: int) -> Any:
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(signal.SIGINT)
        return self._photos.read(index)


def test_checkpoint_of_another_training_leaves_the_finished_run_as_it_is(
    folder: Path, photos: VocPhotos, tracking: mlflow.MlflowClient
) -> None:
    run_session(session(folder, "mine"), photos)
    with pytest.raises(CheckpointError, match="of a training with another cfg"):
        run_session(session(folder, "mine", settings=Settings(epochs=3, batch=4)), photos)
    with pytest.raises(CheckpointError, match="of a training with another cfg"):
        run_session(session(folder, "other", settings=Settings(epochs=3, batch=4)), photos)
    (run,) = runs(tracking, "mine")
    assert run.info.status == "FINISHED"
    assert runs(tracking, "other") == []


def test_stopped_training_is_killed_in_mlflow_and_goes_on_in_its_run(
    folder: Path, photos: VocPhotos, validation: VocPhotos, tracking: mlflow.MlflowClient
) -> None:
    with pytest.raises(Interrupted, match="stopped after step 2 of 4"):
        run_session(session(folder, "stopped"), photos, StopsIn(validation, 1))
    (run,) = runs(tracking, "stopped")
    assert run.info.status == "KILLED"
    run_session(session(folder, "stopped"), photos, validation)
    (again,) = runs(tracking, "stopped")
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert [one.step for one in tracking.get_metric_history(run.info.run_id, "loss")] == [1, 2]


def test_training_that_was_finished_before_still_tells_its_run(
    folder: Path, photos: VocPhotos, tracking: mlflow.MlflowClient
) -> None:
    """Notebook 1 draws its curves, also when a later notebook logged to the same experiment meanwhile."""
    first = run_session(session(folder, "again"), photos)
    tracking.create_run(str(tracking.get_run(first.run).info.experiment_id), run_name="later")
    assert run_session(session(folder, "again"), photos).run == first.run
    assert [one.step for one in tracking.get_metric_history(first.run, "loss")] == [1, 2]
    assert run_session(session(folder, "", to=str(folder / "unlogged")), photos).run == ""


def test_names_in_another_order_than_the_photos_are_refused_before_the_first_step(
    folder: Path, photos: VocPhotos
) -> None:
    (folder / "small.names").write_text("\n".join(reversed(NAMES)))
    said = f"small.names: has the classes {', '.join(reversed(NAMES))}: .* expected: {', '.join(NAMES)}"
    with pytest.raises(TrainingError, match=said):
        run_session(session(folder, ""), photos)
    assert not (folder / "out").exists()


def long_session(folder: Path) -> Session:
    return session(folder, "killed", checkpoint_every_s=1000, settings=Settings(epochs=40, batch=4))


def _run_to_the_end(folder: Path, uri: str, where: Path) -> None:
    """In a process of its own, which has another environment."""
    os.environ["MLFLOW_TRACKING_URI"] = uri
    os.chdir(where)  # MLflow puts artifacts of such a store below the current folder
    mlflow.set_tracking_uri(uri)
    torch.set_num_threads(1)
    run_session(long_session(folder), load_voc(folder / "voc", "train", NAMES))


@pytest.mark.timeout(180)
def test_training_killed_before_its_first_minute_goes_on_in_the_same_run(
    folder: Path, photos: VocPhotos, tracking: mlflow.MlflowClient
) -> None:
    process = CONTEXT.Process(target=_run_to_the_end, args=(folder, mlflow.get_tracking_uri(), Path.cwd()))
    process.start()

    def has_epochs() -> bool:
        assert process.exitcode is None
        found = runs(tracking, "killed")
        return bool(found) and "loss" in found[0].data.metrics

    wait_until(has_epochs, timeout_s=120, what="an epoch in MLflow")
    process.kill()
    process.join()
    (run,) = runs(tracking, "killed")
    assert run.info.status == "RUNNING"
    kept = load_checkpoint(FolderPlace(folder / "out"))
    assert kept is not None
    assert (kept.step, kept.run) == (0, run.info.run_id)
    run_session(long_session(folder), photos)
    (again,) = runs(tracking, "killed")
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert [one.step for one in tracking.get_metric_history(run.info.run_id, "loss")] == list(range(1, 41))


def test_training_that_is_logged_only_later_has_all_its_epochs(
    folder: Path, photos: VocPhotos, tracking: mlflow.MlflowClient
) -> None:
    run_session(session(folder, ""), photos)
    run_session(session(folder, "later"), photos)
    (run,) = runs(tracking, "later")
    assert [one.step for one in tracking.get_metric_history(run.info.run_id, "loss")] == [1, 2]
    run_session(session(folder, "later"), photos)
    assert len(runs(tracking, "later")) == 1


def test_another_experiment_than_the_checkpoints_is_named(
    folder: Path, photos: VocPhotos, tracking: mlflow.MlflowClient
) -> None:
    run_session(session(folder, "first"), photos)
    with pytest.raises(TrainingError, match="is of the experiment 'first': give that one instead of 'second'"):
        run_session(session(folder, "second"), photos)
    assert tracking.get_experiment_by_name("second") is None
    (run,) = runs(tracking, "first")
    assert run.info.status == "FINISHED"


def test_version_is_registered_although_the_notebook_has_a_run_and_an_experiment_of_its_own(
    folder: Path, photos: VocPhotos, validation: VocPhotos, tracking: mlflow.MlflowClient
) -> None:
    with pytest.raises(Interrupted):
        run_session(session(folder, "inner"), photos, StopsIn(validation, 1))
    mlflow.set_experiment("outer")
    with mlflow.start_run() as outer:
        run_session(session(folder, "inner", register="inside"), photos, validation)
        assert mlflow.active_run() is not None
    assert tracking.get_run(outer.info.run_id).info.status == "FINISHED"
    (version,) = tracking.search_model_versions("name = 'inside'")
    (run,) = runs(tracking, "inner")
    assert version.run_id == run.info.run_id
    assert "mlflow.parentRunId" not in run.data.tags


def test_name_with_a_quote_is_registered_once(folder: Path, photos: VocPhotos, tracking: mlflow.MlflowClient) -> None:
    for _ in range(2):
        run_session(session(folder, "quoted", register="o'brien"), photos)
    (run,) = runs(tracking, "quoted")
    found = tracking.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert [(one.name, str(one.version)) for one in found] == [("o'brien", "1")]


def test_version_without_its_digest_is_what_a_killed_try_left(
    folder: Path, photos: VocPhotos, tracking: mlflow.MlflowClient
) -> None:
    mine = session(folder, "half", register="half", alias="challenger")
    run_session(mine, photos)
    tracking.delete_model_version_tag("half", "1", "slipway.digest")
    run_session(mine, photos)
    (version,) = tracking.search_model_versions("name = 'half'")
    assert str(version.version) == str(tracking.get_model_version_by_alias("half", "challenger").version) == "2"


def test_alias_is_moved_with_who_and_why(
    folder: Path,
    photos: VocPhotos,
    validation: VocPhotos,
    tracking: mlflow.MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    trained = run_session(session(folder, "aliased", register="aliased", alias="challenger"), photos, validation)
    (run,) = runs(tracking, "aliased")
    record = json.loads(tracking.get_registered_model("aliased").tags["slipway.alias.challenger"])
    assert (record["version"], record["before"], record["who"]) == ("1", None, "ada")
    assert record["why"] == f"trained in run {run.info.run_id}, mAP@0.5 {trained.history[-1].map50:.3f}"


def test_store_that_takes_no_files_is_told_before_the_first_epoch(
    folder: Path, photos: VocPhotos, tracking: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(mlflow.MlflowClient, "log_dict", refused)
    with pytest.raises(TrainingError, match="MLflow's artifacts in S3: Unable to locate credentials"):
        run_session(session(folder, "nokeys"), photos)
    (run,) = runs(tracking, "nokeys")
    assert run.info.status == "FAILED"
    assert not (folder / "out" / CHECKPOINT_NAME).exists()


def test_run_has_its_settings_as_a_file(folder: Path, photos: VocPhotos, tracking: mlflow.MlflowClient) -> None:
    run_session(session(folder, "settings"), photos)
    (run,) = runs(tracking, "settings")
    said = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/settings.json")
    assert (said["epochs"], said["photos"], said["cfg"]) == (2, 8, "small.cfg")


def test_every_class_has_a_metric_of_its_own_that_mlflow_takes() -> None:
    classes = ("cat", "Cat", "a+b", "a-b", "a/b", "a_b", "../x", ".", "größe 2", "a_b 2", "x" * 200)
    names = metric_names(classes)
    assert list(names) == list(classes)
    assert len({name.casefold() for name in names.values()}) == len(classes)
    assert (names["cat"], names["Cat"], names["a+b"], names["a/b"]) == (
        "ap50.cat",
        "ap50.Cat 2",
        "ap50.a_b",
        "ap50.a_b 2",
    )
    for name in names.values():
        _validate_metric_name(name)


def test_classes_that_look_alike_are_logged_apart(folder: Path, tracking: mlflow.MlflowClient) -> None:
    (folder / "small.names").write_text("a/b\na+b\n")
    for path in (folder / "voc" / "Annotations").iterdir():
        path.write_text(path.read_text().replace("disc", "a/b").replace("block", "a+b"))
    names = ("a/b", "a+b")
    train, val = (load_voc(folder / "voc", split, names) for split in ("train", "val"))
    run_session(session(folder, "alike"), train, val)
    (run,) = runs(tracking, "alike")
    assert {"ap50.a_b", "ap50.a_b 2"} <= run.data.metrics.keys()


def test_photo_that_is_no_png_is_named(
    folder: Path,
    photos: VocPhotos,
    validation: VocPhotos,
    tracking: mlflow.MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(TrainingError, match="photo 0 of the validation set cannot be shown in the proof"):
        run_session(session(folder, "nopng", register="nopng"), photos, validation)
    (run,) = runs(tracking, "nopng")
    assert run.info.status == "FAILED"


def test_second_training_in_one_folder_is_refused(folder: Path, photos: VocPhotos) -> None:
    with (
        FolderPlace(folder / "out").held(),
        pytest.raises(PlaceError, match="out: another training is at work in this folder: wait for its end"),
    ):
        run_session(session(folder, ""), photos)
    run_session(session(folder, ""), photos)


def test_training_in_another_thread_is_not_stopped_by_signals(folder: Path, photos: VocPhotos) -> None:
    before = signal.getsignal(signal.SIGINT)
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(run_session(session(folder, ""), photos).seen))
    thread.start()
    thread.join(50)
    assert done == [16]
    assert signal.getsignal(signal.SIGINT) is before


def test_place_that_is_away_for_a_while_costs_no_training(
    folder: Path, photos: VocPhotos, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = FolderPlace.write, iter(range(100))

    def sometimes(place: FolderPlace, name: str, content: bytes) -> None:
        if 1 <= next(calls) <= 2:
            raise PlaceError(f"{place}/{name}: cannot be written: away")
        real(place, name, content)

    monkeypatch.setattr(FolderPlace, "write", sometimes)
    run_session(session(folder, "", checkpoint_every_s=0), photos)
    kept = load_checkpoint(FolderPlace(folder / "out"))
    assert kept is not None
    assert kept.step == 4
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in said] == [
        "warning: no checkpoint after step 1",
        "warning: no checkpoint after step 2",
    ]


def test_place_that_stays_away_ends_the_training_at_last(
    folder: Path, photos: VocPhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = iter([True])
    real = FolderPlace.write

    def away(place: FolderPlace, name: str, content: bytes) -> None:
        if not next(first, False):
            raise PlaceError(f"{place}/{name}: away")
        real(place, name, content)

    monkeypatch.setattr(FolderPlace, "write", away)
    many = session(folder, "", checkpoint_every_s=0, settings=Settings(epochs=20, batch=4))
    with pytest.raises(PlaceError, match="away"):
        run_session(many, photos)
    kept = load_checkpoint(FolderPlace(folder / "out"))
    assert kept is not None
    assert kept.step == 0


def test_place_that_cannot_be_written_is_told_before_the_first_step(folder: Path, photos: VocPhotos) -> None:
    (folder / "out").mkdir()
    (folder / "out" / f".{CHECKPOINT_NAME}.draft").mkdir()
    with pytest.raises(PlaceError, match=r"checkpoint\.pt: cannot be written: Is a directory"):
        run_session(session(folder, ""), photos)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_period_that_makes_no_sense_is_refused(folder: Path, seconds: float) -> None:
    with pytest.raises(TrainingError, match="checkpoint_every_s=.*: 0 seconds or more are possible"):
        session(folder, "", checkpoint_every_s=seconds)


def test_result_is_not_written_over_what_it_starts_from(folder: Path) -> None:
    with pytest.raises(TrainingError, match=r"small\.weights: the result would be written over what it starts from"):
        session(folder, "", start=folder / "out" / ".." / "out" / "small.weights")
    assert dataclasses.replace(session(folder, ""), start=folder / "small.weights").start is not None
