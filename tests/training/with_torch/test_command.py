"""The command line: a training that is stopped and started again, registered with MLflow, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from model_wrappers.darknet import check
from model_wrappers.darknet.training.__main__ import main
from model_wrappers.darknet.training.checkpoint import (
    CHECKPOINT_NAME,
    decode,
    keep_checkpoint,
    load_checkpoint,
)
from model_wrappers.darknet.training.errors import TrainingError
from model_wrappers.darknet.training.options import INTERRUPTED_EXIT
from model_wrappers.darknet.training.output import METRICS_NAME
from model_wrappers.darknet.training.places import FolderPlace
from model_wrappers.darknet.training.tracking import MlflowRun
from models.shapes.train import main as train_shapes
from tests.data import REPOSITORY
from tests.training.voc_folder import write_voc
from tests.training.with_torch.networks import write_cfg

pytestmark = [  # MLflow's own, with its SQL store in this process
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

QUICK = ["--batch", "4", "--validate-every", "1", "--device", "cpu", "--threads", "1"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_cfg(tmp_path)
    return write_voc(tmp_path / "voc", train=8, val=3, test=3).parent


def words(folder: Path, *more: str) -> list[str]:
    files = [str(folder / "small.cfg"), str(folder / "small.names"), "--voc", str(folder / "voc")]
    return ["train", *files, "--to", str(folder / "out"), *QUICK, *more]


def test_a_training_leaves_a_model_and_its_figures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, "--epochs", "2")) == 0
    out = folder / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        CHECKPOINT_NAME, METRICS_NAME, "small.cfg", "small.names", "small.weights"
    ]  # fmt: skip
    assert check(out / "small.cfg", out / "small.weights", out / "small.names").seen == 16
    assert len((out / METRICS_NAME).read_text().splitlines()) == 3
    said = capsys.readouterr().out
    assert "8 photos, 3 to validate, on cpu" in said
    assert "epoch 2/2  loss " in said
    assert "mAP@0.5 " in said
    files = [str(out / name) for name in ("small.cfg", "small.weights", "small.names")]
    assert main(["precision", *files, "--voc", str(folder / "voc")]) == 0
    assert "3 photos         mAP@0.5 " in capsys.readouterr().out


def test_photos_that_are_learned_from_and_measured_with_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(folder, "--epochs", "1"))
    assert "warning" not in capsys.readouterr().err
    lists = folder / "voc" / "ImageSets" / "Main"
    (lists / "mixed.txt").write_text("val-0\ntrain-7\ntrain-2\n")
    main(words(folder, "--epochs", "1", "--validate", "mixed", "--fresh"))
    said = capsys.readouterr().err
    assert "warning: 2 of the 3 photos that measure mAP are also learned from, such as " in said
    assert "train-2.jpg: the figure is better than the network" in said


@pytest.mark.timeout(180)
def test_the_same_command_again_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that is told to stop keeps a checkpoint; the next one gives what one alone would have given."""
    more = ["--epochs", "30", "--validate-every", "15", "--checkpoint-every", "1000"]
    argv = [sys.executable, "-u", "-m", "model_wrappers.darknet.training", *words(folder, *more)]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("epoch 3/"):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED_EXIT, errors
    kept = decode((folder / "out" / CHECKPOINT_NAME).read_bytes(), where="kept")
    assert 6 <= kept.step < 60
    assert not (folder / "out" / "small.weights").exists()

    assert main(words(folder, *more)) == 0
    assert f"going on from {folder / 'out'}: {kept.step} steps are done" in capsys.readouterr().out
    resumed = (folder / "out" / "small.weights").read_bytes()
    alone = words(folder, *more)
    alone[alone.index("--to") + 1] = str(folder / "alone")
    assert main(alone) == 0
    assert (folder / "alone" / "small.weights").read_bytes() == resumed
    assert (folder / "alone" / METRICS_NAME).read_text() == (folder / "out" / METRICS_NAME).read_text()


def test_a_run_is_logged_and_its_version_registered_once(
    folder: Path, tracking: mlflow.MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--epochs", "3", "--experiment", "cells", "--register", "small", "--alias", "challenger"]
    assert main(words(folder, *more, "--licence", "MIT")) == 0
    assert "registered models:/small/1, alias challenger" in capsys.readouterr().out
    version = tracking.get_model_version_by_alias("small", "challenger")
    assert str(version.version) == "1"
    assert version.tags["licence"] == "MIT"
    assert version.tags["slipway.digest"].startswith("sha256:")
    run = tracking.get_run(str(version.run_id))
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "3"
    assert run.data.params["cfg"] == "small.cfg"
    assert {"loss", "rate", "map50", "ap50.disc", "ap50.block"} <= run.data.metrics.keys()
    assert [one.step for one in tracking.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3]

    assert main(words(folder, *more)) == 0  # a Job whose Pod died after the registration runs again
    assert "registered models:/small/1" in capsys.readouterr().out
    assert len(tracking.search_model_versions("name = 'small'")) == 1
    assert [one.step for one in tracking.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3]


def test_a_run_without_a_registration_keeps_the_files(folder: Path, tracking: mlflow.MlflowClient) -> None:
    assert main(words(folder, "--epochs", "1", "--experiment", "files")) == 0
    (run,) = tracking.search_runs([str(tracking.get_experiment_by_name("files").experiment_id)])
    kept = {item.path for item in tracking.list_artifacts(run.info.run_id, "trained")}
    assert kept == {f"trained/{name}" for name in (METRICS_NAME, "small.cfg", "small.names", "small.weights")}


def test_a_training_that_fails_says_so_in_its_run(
    folder: Path, tracking: mlflow.MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "voc" / "JPEGImages" / "train-3.jpg").write_bytes(b"broken")
    assert main(words(folder, "--epochs", "1", "--experiment", "broken")) == 1
    assert "train-3.jpg: cannot be read as a photo" in capsys.readouterr().err
    (run,) = tracking.search_runs([str(tracking.get_experiment_by_name("broken").experiment_id)])
    assert run.info.status == "FAILED"


def test_a_run_that_mlflow_does_not_know_is_named(
    folder: Path, tracking: mlflow.MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(folder, "--epochs", "1", "--experiment", "gone")) == 0
    (run,) = tracking.search_runs([str(tracking.get_experiment_by_name("gone").experiment_id)])
    place = FolderPlace(folder / "out")
    checkpoint = load_checkpoint(place)
    assert checkpoint is not None
    assert checkpoint.run == run.info.run_id
    keep_checkpoint(place, dataclasses.replace(checkpoint, run="0" * 32))
    assert main(words(folder, "--epochs", "1", "--experiment", "gone")) == 1
    assert f"run {'0' * 32}, which the checkpoint names, cannot go on in MLflow" in capsys.readouterr().err


def test_failure_stays_the_error_when_mlflow_cannot_be_told(
    folder: Path, tracking: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(run: MlflowRun, status: str) -> None:
        raise TrainingError(f"MLflow: no {status}")

    monkeypatch.setattr(MlflowRun, "end", refuse)
    (folder / "voc" / "JPEGImages" / "train-3.jpg").write_bytes(b"broken")
    assert main(words(folder, "--epochs", "1", "--experiment", "away")) == 1
    assert "train-3.jpg: cannot be read as a photo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--epochs", "0"], "epochs=0: 1 to 100000 is possible"),
        (["--register", "small"], "name an experiment too"),
        (["--alias", "champion", "--experiment", "x"], "name the model to register too"),
        (["--to", "gs://x/y"], "'gs://x/y': a folder, or s3://bucket/prefix, is expected"),
        (["--experiment", "x", "--register", "a/b"], "MLflow: "),
        (["--experiment", "x", "--register", "small", "--alias", "v1"], "MLflow: "),
        (["--split", "none"], "splits here: test, train, val"),
        (["--threads", "0"], "threads=0: 1 or more"),
        (["--scale", "0.5"], "scale=0.5"),
    ],
)
def test_what_is_refused_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(words(folder, *more)) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("error: ")
    assert not (folder / "out").exists()


def test_boxes_left_out_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "voc" / "Annotations" / "train-0.xml"
    path.write_text(
        path.read_text().replace(
            "</annotation>",
            "<object><name>disc</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>5</xmax><ymax>9</ymax></bndbox></object></annotation>",
        )
    )
    assert (
        main(
            [
                "anchors",
                str(folder / "small.cfg"),
                str(folder / "small.names"),
                "--voc",
                str(folder / "voc"),
                "--count",
                "2",
            ]
        )
        == 0
    )
    said = capsys.readouterr()
    assert "train-0.xml: object 3 (disc): box 5,5,5,9 has no area in the photo: left out" in said.err
    lines = said.out.splitlines()
    assert lines[1] == "num=2"
    (small, _), (large, _) = (map(int, pair.split(",")) for pair in lines[0].removeprefix("anchors=").split(",  "))
    assert 16 <= small <= large <= 26


def test_drawn_shapes_are_trained_by_the_same_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--to", str(tmp_path), "--photos", "16", "--validate", "4", "--epochs", "1", "--threads", "1"]
    assert train_shapes(argv) == 0
    assert "16 photos, 4 to validate" in capsys.readouterr().out
    assert check(tmp_path / "shapes.cfg", tmp_path / "shapes.weights", tmp_path / "shapes.names").seen == 16


@pytest.mark.parametrize("module", ["model_wrappers.darknet.training", "models.shapes.train"])
def test_help_has_examples(module: str) -> None:
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert f"python -m {module} " in done.stdout.partition("examples:")[2]
