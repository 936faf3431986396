"""kill -9: at a random moment, again and again, and in the middle of a write. What comes out is what one without gives."""

from __future__ import annotations

import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from model_wrappers.darknet.training.checkpoint import CHECKPOINT_NAME, load_checkpoint
from model_wrappers.darknet.training.places import FolderPlace
from tests.training.voc_folder import write_voc
from tests.training.with_torch import killed
from tests.training.with_torch.killed import ARRANGED, Death
from tests.training.with_torch.networks import write_cfg
from tests.waiting import wait_until

STEPS = 2 * killed.SETTINGS.epochs
KILLS = 10
AT_MOST_S = 0.1  # from the checkpoint that is waited for to the kill: several steps, each with a checkpoint
WITHIN_S = 60.0
OF_THE_RESULT = ("half the weights", "between two results")
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    write_cfg(folder)
    write_voc(folder / "voc", train=8)
    return folder


@pytest.fixture(scope="module")
def weights(folder: Path) -> bytes:
    """Of a training without a break."""
    killed.run(folder, "alone")
    return (folder / "alone" / "small.weights").read_bytes()


def step_of(place: FolderPlace) -> int:
    """Of the checkpoint that is there, which is whole; -1 where there is none."""
    checkpoint = load_checkpoint(place)
    return -1 if checkpoint is None else checkpoint.step


def wait_for_a_step(process: BaseProcess, place: FolderPlace, behind: int) -> None:
    wait_until(lambda: step_of(place) > behind or process.exitcode is not None, timeout_s=WITHIN_S, what="a step")


def finish(folder: Path, to: str, weights: bytes) -> None:
    killed.run(folder, to)
    assert (folder / to / "small.weights").read_bytes() == weights
    assert sorted(path.name for path in (folder / to).iterdir()) == sorted(
        path.name for path in (folder / "alone").iterdir()
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_a_training_killed_again_and_again_gives_the_same_weights(folder: Path, weights: bytes, seed: int) -> None:
    chance, to = random.Random(seed), f"random-{seed}"
    place, kills, behind = FolderPlace(folder / to), 0, -1
    while kills < KILLS and behind < STEPS:
        process = killed.start(folder, to)
        wait_for_a_step(process, place, behind)
        process.join(chance.uniform(0, AT_MOST_S))
        process.kill()
        process.join(WITHIN_S)
        assert process.exitcode in (-signal.SIGKILL, 0)
        kills += process.exitcode != 0
        assert step_of(place) >= behind
        behind = step_of(place)
    assert kills >= 3
    finish(folder, to, weights)


@pytest.mark.parametrize("where", sorted(ARRANGED.keys() - set(OF_THE_RESULT)))
@pytest.mark.parametrize("count", [1, 5])
def test_a_training_killed_in_the_write_of_a_checkpoint_goes_on_from_a_whole_one(
    folder: Path, weights: bytes, where: str, count: int
) -> None:
    """The first one is of step 0, so that the fifth is of step 4."""
    to = f"{where} {count}"
    process = killed.start(folder, to, Death(where, count))
    process.join(WITHIN_S)
    assert process.exitcode == -signal.SIGKILL
    written = count - 1 if where == "after the rename" else count - 2
    assert step_of(FolderPlace(folder / to)) == written
    finish(folder, to, weights)


@pytest.mark.parametrize("where", OF_THE_RESULT)
def test_a_training_killed_in_the_write_of_its_result_leaves_no_half_of_a_file(
    folder: Path, weights: bytes, where: str
) -> None:
    process = killed.start(folder, where, Death(where))
    process.join(WITHIN_S)
    assert process.exitcode == -signal.SIGKILL
    assert not (folder / where / "small.weights").exists()
    assert step_of(FolderPlace(folder / where)) == STEPS
    finish(folder, where, weights)


def test_what_a_killed_process_left_does_not_grow(folder: Path) -> None:
    for count in (2, 3, 4):
        process = killed.start(folder, "drafts", Death("half a checkpoint", count))
        process.join(WITHIN_S)
        assert process.exitcode == -signal.SIGKILL
    assert sorted(path.name for path in (folder / "drafts").iterdir()) == [
        f".{CHECKPOINT_NAME}.draft",
        CHECKPOINT_NAME,
    ]
