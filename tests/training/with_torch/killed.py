"""Trainings that are killed: what a child process does, and where in a write it kills itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

import torch

from model_wrappers.darknet.training import output, places
from model_wrappers.darknet.training.session import Session, run_session
from model_wrappers.darknet.training.settings import Settings
from model_wrappers.darknet.training.train import Trained
from model_wrappers.darknet.training.voc import load_voc
from tests.training.voc_folder import NAMES

SETTINGS = Settings(epochs=60, batch=4, rate=5e-3, average=0.9, seed=3)
CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = [
    Session.__module__,
    load_voc.__module__,
    "torch._dynamo",
]  # the last one is what an optimiser's step imports
CONTEXT.set_forkserver_preload(PRELOADED)  # PyTorch takes seconds to import, a fork of it none


@dataclass(frozen=True)
class Death:
    """``where`` in the write of the ``count``-th checkpoint, or in that of the result."""

    where: str
    count: int = 1


def run(folder: Path, to: str) -> Trained:
    """A checkpoint after every step: most of the time one is being written."""
    torch.set_num_threads(1)
    session = Session(
        cfg=folder / "small.cfg",
        names=folder / "small.names",
        to=str(folder / to),
        settings=SETTINGS,
        device="cpu",
        checkpoint_every_s=0,
    )
    return run_session(session, load_voc(folder / "voc", "train", NAMES))


def start(folder: Path, to: str, death: Death | None = None) -> BaseProcess:
    """A process of ``run``."""
    process = CONTEXT.Process(target=_child, args=(folder, to, death))
    process.start()
    return process


def _child(folder: Path, to: str, death: Death | None) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    if death is not None:
        ARRANGED[death.where](death.count)
    run(folder, to)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _half_a_checkpoint(count: int) -> None:
    """Half of the draft is written, and has reached the disk."""
    real, calls = Path.open, iter(range(1, 10**6))

    def opened(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        stream = real(path, mode, *rest, **named)
        if path.name.endswith(".draft") and next(calls) == count:
            whole = stream.write

            def half(content: bytes) -> None:
                whole(content[: len(content) // 2])
                stream.flush()
                os.fsync(stream.fileno())
                _die()

            return _Replaced(stream, write=half)
        return stream

    Path.open = opened  # type: ignore[assignment]


class _Replaced:
    """A stream with another method."""

    def __init__(self, stream: Any, **methods: Callable[..., Any]) -> None:
        self._stream, self._methods = stream, methods

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._stream, name)


def _before_the_disk(count: int) -> None:
    real, calls = os.fsync, iter(range(1, 10**6))

    def synced(descriptor: int) -> None:
        if next(calls) == count:
            _die()
        real(descriptor)

    places.os.fsync = synced  # type: ignore[attr-defined]


def _renames(suffix: str, count: int, *, is_done: bool) -> None:
    real, calls = Path.replace, iter(range(1, 10**6))

    def replaced(path: Path, target: Path) -> Path:
        is_this = path.name.endswith(suffix) and next(calls) == count
        if is_this and not is_done:
            _die()
        moved = real(path, target)
        if is_this:
            _die()
        return moved

    Path.replace = replaced  # type: ignore[assignment, method-assign]


def _half_the_weights(_: int) -> None:
    real = output.write_weights_file

    def written(trained: Trained, path: Path) -> None:
        real(trained, path)
        os.truncate(path, path.stat().st_size // 2)
        _die()

    output.write_weights_file = written


ARRANGED: dict[str, Callable[[int], None]] = {
    "half a checkpoint": _half_a_checkpoint,
    "before the disk has it": _before_the_disk,
    "before the rename": lambda count: _renames(".draft", count, is_done=False),
    "after the rename": lambda count: _renames(".draft", count, is_done=True),
    "half the weights": _half_the_weights,
    "between two results": lambda count: _renames(".cfg", count, is_done=True),
}
