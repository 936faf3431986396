"""Which engine is the fastest on this machine that computes what Darknet does: all of them, timed side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.engines import Engine, installed_engines, open_engine
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder

Floats = npt.NDArray[np.float32]

TOLERANCE = 1e-3  # max|a - b| / max|a| of one tensor
WRONG = 1e9  # the difference of tensors that cannot be compared; finite, for JSON has no infinity
ROUNDS = 20
MIN_ROUNDS = 3
BUDGET_S = 4.0  # of all rounds together, once every engine ran MIN_ROUNDS times
SLOW_FACTOR = 4.0  # an engine this much slower than the best is out after MIN_ROUNDS, or after a run of SLOW_RUN_S
SLOW_RUN_S = 1.0


@dataclass(frozen=True)
class EngineTiming:
    """One engine's run of one model: median ``milliseconds`` per photo, ``difference`` as in ``TOLERANCE``.

    ``problem`` says why an engine could not run it; then the numbers are 0. ``map_loss`` is the mAP lost beside float32
    (0 to 1, negative where it gained), ``max_map_loss`` the loss that was declared acceptable: for a graph in 8 bits,
    which cannot be within the tolerance.
    """

    engine: str
    version: str = ""
    milliseconds: float = 0.0
    rounds: int = 0
    difference: float = 0.0
    problem: str = ""
    map_loss: float | None = None
    max_map_loss: float | None = None

    @property
    def is_usable(self) -> bool:
        return not self.problem and (self.difference <= TOLERANCE or self._loses_little)

    @property
    def _loses_little(self) -> bool:
        return self.map_loss is not None and self.max_map_loss is not None and self.map_loss <= self.max_map_loss


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

    ``heads`` are the raw outputs that are right. The order of the answer is that of ``names``. An engine that fails, when
    it opens or in any round, is out with its ``problem``; the others go on.
    """
    chosen = installed_engines() if names is None else tuple(names)
    trials = [_Trial(name) for name in chosen]
    for trial in trials:
        trial.start(files, pixels, heads, threads)
    _run_rounds([trial for trial in trials if trial.engine is not None], pixels)
    return tuple(trial.timing() for trial in trials)


@dataclass
class _Trial:
    """One engine while it is timed: ``engine`` is None before it opened and after it failed."""

    name: str
    engine: Engine | None = None
    version: str = ""
    difference: float = WRONG
    problem: str = ""
    seconds: list[float] = field(default_factory=list)

    def start(self, files: ModelFolder, pixels: npt.NDArray[np.uint8], heads: Sequence[Floats], threads: int) -> None:
        """Open it and compare its first answer; that run allocates, so it is not timed."""
        try:
            self.engine = open_engine(self.name, files, threads=threads)
            self.version = self.engine.version
            self.difference = difference(heads, [output[0] for output in self.engine.run(pixels[None])])
        except EngineError as exc:
            self._fail(exc)

    def run(self, pixels: npt.NDArray[np.uint8]) -> None:
        """One timed run."""
        if self.engine is None:
            return
        before = time.perf_counter()
        try:
            self.engine.run(pixels[None])
        except EngineError as exc:
            self._fail(exc)
        else:
            self.seconds.append(time.perf_counter() - before)

    def _fail(self, exc: EngineError) -> None:
        self.engine, self.problem = None, str(exc)

    @property
    def fastest_s(self) -> float:
        return min(self.seconds, default=float("inf"))

    def is_slow(self, best_s: float) -> bool:
        """A busy moment can make any one run slow; only a long one is not worth another try."""
        tried = len(self.seconds) >= MIN_ROUNDS or self.fastest_s >= SLOW_RUN_S
        return bool(self.seconds) and tried and self.fastest_s > SLOW_FACTOR * best_s

    @property
    def is_right(self) -> bool:
        return not self.problem and self.difference <= TOLERANCE

    def timing(self) -> EngineTiming:
        if self.problem:
            return EngineTiming(self.name, self.version, problem=self.problem)
        milliseconds = round(statistics.median(self.seconds) * 1000, 3)
        return EngineTiming(self.name, self.version, milliseconds, len(self.seconds), self.difference)


def _run_rounds(trials: Sequence[_Trial], pixels: npt.NDArray[np.uint8]) -> None:
    """Interleaved, so that a busy moment hits all alike; what is far behind the best right one is left out in time."""
    started = time.perf_counter()
    for number in range(ROUNDS):
        if number >= MIN_ROUNDS and time.perf_counter() - started > BUDGET_S:
            break
        best = min((trial.fastest_s for trial in trials if trial.is_right), default=float("inf"))
        for trial in trials:
            if not trial.is_slow(best):
                trial.run(pixels)


def ranked(timings: Iterable[EngineTiming]) -> tuple[EngineTiming, ...]:
    """The usable ones, fastest first; behind them those that were left out of later rounds as far too slow.

    Medians over different rounds do not compare: the later rounds may have met a busier machine.
    """
    usable = [timing for timing in timings if timing.is_usable]
    rounds = max((timing.rounds for timing in usable), default=0)
    return tuple(sorted(usable, key=lambda timing: (timing.rounds < rounds, timing.milliseconds)))


def fastest(timings: Sequence[EngineTiming]) -> EngineTiming:
    """The fastest engine within tolerance. Raises ``EngineError`` naming every engine's fault if there is none."""
    if order := ranked(timings):
        return order[0]
    faults = "; ".join(f"{t.engine}: {t.problem or f'differs by {t.difference:.1e}'}" for t in timings)
    raise EngineError(f"no engine computes this model within {TOLERANCE:g}: {faults or 'none is installed'}")
