"""The command line as a person meets it: help with examples, exit codes, refusals in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.cli.every_command import EVERY
from tests.data import SHARED_DATA

DONE, FAILED, WRONG_USAGE, NOT_READY = 0, 1, 2, 3
CFG, WEIGHTS, NAMES = "yolo-fastest-1.1.cfg", "yolo-fastest-1.1.weights", "coco.names"


def slipway(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    """On a machine where nothing was ever started."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLIPWAY_", "MLFLOW_", "AWS_", "KUBE"))
    }
    return subprocess.run(
        [sys.executable, "-m", "slipway.cli.main", *words],
        env={**kept, "SLIPWAY_HOME": str(home), "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_every_command_is_walked() -> None:
    assert {("up",), ("apply",), ("image", "build"), ("model", "register")} <= EVERY.keys()


@pytest.mark.parametrize("words", EVERY, ids=lambda words: " ".join(words) or "slipway")
def test_help_has_an_example_that_starts_with_the_command(words: tuple[str, ...]) -> None:
    command = EVERY[words]
    text = command.get_help(click.Context(command, info_name=" ".join(("slipway", *words))))
    _, heading, examples = text.partition("Example")
    assert heading, f"slipway {' '.join(words)} --help shows no example"
    assert f"  slipway {' '.join(words)}" in examples


def assert_one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The only line on stderr."""
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_help_and_version_need_no_platform(tmp_path: Path) -> None:
    for words in ((), ("--help",), ("--version",), ("up", "--help")):
        done = slipway(*words, home=tmp_path)
        assert done.returncode == (WRONG_USAGE if not words else DONE), done
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("upp",),
        ("up", "--nope"),
        ("up", "--without", "nope"),
        ("up", "--api-port", "0"),
        ("apply",),
        ("delete",),
        ("model", "register", "x"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_right(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = slipway(*words, home=tmp_path)
    assert done.returncode == WRONG_USAGE
    assert "Usage: " in done.stderr
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_status_of_nothing_ends_with_3(tmp_path: Path) -> None:
    assert slipway("status", home=tmp_path / "home").returncode == NOT_READY


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("image", "build", "no/such:1"), "there are: "),
        (("image", "delete", "no/such:1"), "slipway image build no/such:1"),
        (("model", "pull", "nothing"), "no digest is known for it"),
    ],
)
def test_failure_ends_with_1_and_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    assert said in assert_one_line(slipway(*words, home=tmp_path), FAILED)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a good cfg, weights and names."""
    folder = tmp_path / "model"
    folder.mkdir()
    for kind, name in (("cfg", CFG), ("weights", WEIGHTS), ("names", NAMES)):
        shutil.copyfile(SHARED_DATA / kind / name, folder / name)
    return folder


def register(
    model: Path, *more: str, cfg: str = CFG, weights: str = WEIGHTS, names: str = NAMES
) -> subprocess.CompletedProcess[str]:
    flags = {"--cfg": cfg, "--weights": weights, "--names": names}
    words = [word for flag, name in flags.items() for word in (flag, str(model / name))]
    return slipway("model", "register", "yolo", *words, *more, home=model.parent / "home")


@pytest.mark.data
def test_register_wants_labelled_photos_where_8_bits_are_allowed(model: Path) -> None:
    done = register(model, "--int8", ".01")
    assert done.returncode == WRONG_USAGE
    assert "--int8: a loss is measured on labelled photos: --labelled names their folder" in done.stderr
    line = assert_one_line(register(model, "--int8", ".01", "--labelled", str(model)), FAILED)
    assert f"{model}/ImageSets/Main/test.txt: cannot be read as a list of photos" in line


@pytest.mark.data
def test_register_of_truncated_weights_names_file_expected_and_found(model: Path) -> None:
    path = model / WEIGHTS
    whole = path.stat().st_size
    os.truncate(path, whole - 4)
    line = assert_one_line(register(model), FAILED)
    assert f"{path}: expected {whole} bytes, found {whole - 4}" in line


@pytest.mark.data
def test_register_of_other_weights_names_both_sizes(model: Path) -> None:
    other = SHARED_DATA / "weights" / "yolo-fastest.weights"
    shutil.copyfile(other, model / WEIGHTS)
    line = assert_one_line(register(model), FAILED)
    assert f"found {other.stat().st_size}" in line
    assert str(model / CFG) in line


@pytest.mark.data
@pytest.mark.parametrize(
    ("swap", "at_fault"),
    [
        ({"cfg": WEIGHTS, "weights": CFG}, WEIGHTS),
        ({"weights": CFG}, CFG),
        ({"cfg": NAMES}, NAMES),
        ({"names": CFG}, CFG),
        ({"names": WEIGHTS}, WEIGHTS),
    ],
)
def test_register_of_swapped_files_names_the_file(model: Path, swap: dict[str, str], at_fault: str) -> None:
    line = assert_one_line(register(model, **swap), FAILED)
    assert str(model / at_fault) in line


@pytest.mark.data
def test_register_without_a_registry_says_how_to_start_one(model: Path) -> None:
    done = register(model)
    assert done.returncode == NOT_READY, done
    assert "slipway up" in done.stderr
    assert "Traceback" not in done.stderr


def test_register_of_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    done = register(tmp_path)
    assert done.returncode == WRONG_USAGE
    assert str(tmp_path / CFG) in done.stderr
