"""Which engine is the fastest on this machine that computes what Darknet does; the answer travels with the model."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.engines import AUTO, DEFAULT_ENGINE, ENGINES, Engine, installed_engines, open_engine
from model_wrappers.darknet.errors import EngineError, ModelFolderError
from model_wrappers.darknet.folder import ModelFolder

Floats = npt.NDArray[np.float32]

TOLERANCE = 1e-3  # max|a - b| / max|a| of one tensor
WRONG = 1e9  # the difference of tensors that cannot be compared; finite, for JSON has no infinity
ROUNDS = 20
MIN_ROUNDS = 3
BUDGET_S = 4.0  # of all rounds together, once every engine ran MIN_ROUNDS times
SLOW_FACTOR = 4.0  # an engine this much slower than the best is timed once
MAX_RECORD_BYTES = 1 << 16


@dataclass(frozen=True)
class EngineTiming:
    """One engine's run of one model: median ``milliseconds`` per photo, ``difference`` as in ``TOLERANCE``.

    ``problem`` says why an engine could not run it; then the numbers are 0.
    """

    engine: str
    version: str = ""
    milliseconds: float = 0.0
    rounds: int = 0
    difference: float = 0.0
    problem: str = ""

    @property
    def is_usable(self) -> bool:
        return not self.problem and self.difference <= TOLERANCE


def difference(expected: Sequence[Floats], found: Sequence[Floats]) -> float:
    """The largest max|a - b| / max|a| over pairs of tensors; ``WRONG`` where a count, shape or value is."""
    if len(expected) != len(found):
        return WRONG
    worst = 0.0
    for a, b in zip(expected, found, strict=True):
        if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
            return WRONG
        scale = float(np.abs(a).max())
        worst = max(worst, float(np.abs(a - b).max()) / (scale or 1.0))
    return min(worst, WRONG)


def time_engines(
    files: ModelFolder,
    pixels: npt.NDArray[np.uint8],
    heads: Sequence[Floats],
    *,
    threads: int,
    names: Sequence[str] | None = None,
) -> tuple[EngineTiming, ...]:
    """Time engines (those installed, if not named) in turn, round by round, on letterboxed ``pixels`` [H, W, 3].

    ``heads`` are the raw outputs that are right. The order of the answer is that of ``names``.
    """
    chosen = installed_engines() if names is None else tuple(names)
    opened: dict[str, Engine] = {}
    results: dict[str, EngineTiming] = {}
    for name in chosen:
        try:
            opened[name] = open_engine(name, files, threads=threads)
            found = [output[0] for output in opened[name].run(pixels[None])]  # the first run allocates: not timed
            results[name] = EngineTiming(name, opened[name].version, difference=difference(heads, found))
        except EngineError as exc:
            opened.pop(name, None)
            results[name] = EngineTiming(name, problem=str(exc))
    for name, times in _rounds(opened, pixels, right=[name for name in opened if results[name].is_usable]).items():
        milliseconds = round(statistics.median(times) * 1000, 3)
        results[name] = EngineTiming(
            name, opened[name].version, milliseconds, len(times), difference=results[name].difference
        )
    return tuple(results[name] for name in chosen)


def _rounds(
    opened: Mapping[str, Engine], pixels: npt.NDArray[np.uint8], *, right: Sequence[str]
) -> dict[str, list[float]]:
    """Seconds of each run, interleaved, so that a busy moment hits all alike; the best is one of the ``right`` ones."""
    times: dict[str, list[float]] = {name: [] for name in opened}
    started = time.perf_counter()
    for number in range(ROUNDS):
        if number >= MIN_ROUNDS and time.perf_counter() - started > BUDGET_S:
            break
        best = min((min(times[name]) for name in right if times[name]), default=float("inf"))
        for name, engine in opened.items():
            if times[name] and min(times[name]) > SLOW_FACTOR * best:
                continue
            before = time.perf_counter()
            engine.run(pixels[None])
            times[name].append(time.perf_counter() - before)
    return times


def fastest(timings: Sequence[EngineTiming]) -> EngineTiming:
    """The fastest engine within tolerance. Raises ``EngineError`` naming every engine's fault if there is none."""
    usable = [timing for timing in timings if timing.is_usable]
    if not usable:
        faults = "; ".join(f"{t.engine}: {t.problem or f'differs by {t.difference:.1e}'}" for t in timings)
        raise EngineError(f"no engine computes this model within {TOLERANCE:g}: {faults or 'none is installed'}")
    return min(usable, key=lambda timing: timing.milliseconds)


def render_record(timings: Sequence[EngineTiming], *, threads: int, machine: str) -> str:
    """The text of ``engines.json``: all engines, the usable ones first, fastest first."""
    order = sorted(timings, key=lambda timing: (not timing.is_usable, timing.milliseconds))
    rows = [{**asdict(timing), "usable": timing.is_usable} for timing in order]
    return (
        json.dumps({"machine": machine, "threads": threads, "tolerance": TOLERANCE, "engines": rows}, indent=1) + "\n"
    )


def load_order(path: Path) -> tuple[str, ...]:
    """The usable engines of an ``engines.json``, fastest first. Raises ``ModelFolderError``."""
    with path.open("rb") as file:
        data = file.read(MAX_RECORD_BYTES + 1)
    if len(data) > MAX_RECORD_BYTES:
        raise ModelFolderError(str(path), f"is larger than {MAX_RECORD_BYTES} bytes")
    try:
        return tuple(_name(row) for row in json.loads(data)["engines"] if row["usable"])
    except (ValueError, KeyError, TypeError) as exc:
        raise ModelFolderError(str(path), f"is no record of engines: {exc!r}") from exc


def _name(row: Mapping[str, Any]) -> str:
    if row["engine"] not in ENGINES:
        raise ValueError(f"engine {row['engine']!r} is not one of {', '.join(ENGINES)}")
    return str(row["engine"])


def choose_engine(name: str, files: ModelFolder) -> str:
    """``name`` itself, or for ``auto`` the first engine of the folder's record that is installed here."""
    if name != AUTO:
        return name
    if files.engines_path is None:
        return DEFAULT_ENGINE
    order, installed = load_order(files.engines_path), installed_engines()
    for engine in order:
        if engine in installed:
            return engine
    raise EngineError(
        f"{files.engines_path}: engine 'auto' is one of {', '.join(order) or 'none'}, "
        f"but installed are {', '.join(installed) or 'none'}"
    )
