from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from model_wrappers.darknet import engines, timing
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import load_model_folder
from model_wrappers.darknet.timing import (
    MIN_ROUNDS,
    ROUNDS,
    WRONG,
    EngineTiming,
    difference,
    fastest,
    ranked,
    time_engines,
)
from tests.darknet.networks import CELL, write_handmade_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_handmade_model(tmp_path / "model")


FAST_BUT_WRONG = EngineTiming("openvino", "1", 1.0, 20, difference=0.02)
RIGHT = EngineTiming("onnxruntime", "1", 3.0, 20, difference=1e-6)
SLOWER = EngineTiming("opencv", "4", 4.0, 20, difference=1e-6)
BROKEN = EngineTiming("darknet", problem="cannot run it")


def test_fastest_is_the_fastest_of_those_within_tolerance() -> None:
    assert fastest([SLOWER, FAST_BUT_WRONG, BROKEN, RIGHT]) == RIGHT
    with pytest.raises(EngineError, match=r"openvino: differs by 2\.0e-02; darknet: cannot run it"):
        fastest([FAST_BUT_WRONG, BROKEN])
    with pytest.raises(EngineError, match="none is installed"):
        fastest([])


@pytest.mark.parametrize(
    ("map_loss", "max_map_loss", "is_usable"),
    [(0.01, 0.02, True), (-0.01, 0.0, True), (0.03, 0.02, False), (0.01, None, False), (None, 0.02, False)],
)
def test_eight_bits_are_usable_where_a_measured_loss_is_within_a_declared_one(
    map_loss: float | None, max_map_loss: float | None, is_usable: bool
) -> None:
    small = EngineTiming("onnxruntime-int8", "1", 1.0, 20, 0.05, map_loss=map_loss, max_map_loss=max_map_loss)
    assert small.is_usable is is_usable
    assert (fastest([small, RIGHT]) == small) is is_usable


def test_difference_is_a_share_of_the_largest_value() -> None:
    a = np.array([1.0, -4.0], np.float32)
    assert difference([a], [a + np.float32(0.004)]) == pytest.approx(1e-3, rel=1e-3)
    assert difference([np.zeros(2, np.float32)], [np.zeros(2, np.float32)]) == 0
    assert difference([a], [a[:1]]) == WRONG
    assert difference([a], [a * np.nan]) == WRONG
    assert difference([a * np.nan], [a]) == WRONG
    assert difference([a * np.inf], [a]) == WRONG
    assert difference([a], [a, a]) == WRONG


def test_time_engines_times_each_and_keeps_the_faults(folder: Path) -> None:
    files = load_model_folder(folder)
    pixels = np.zeros((2 * CELL, 2 * CELL, 3), np.uint8)
    right = [np.broadcast_to(np.array([0, 0, 0, 0, -10, -10, -10], np.float32)[:, None, None], (7, 2, 2))]
    first, second, third = time_engines(files, pixels, right, threads=1, names=["opencv", "caffe", "onnxruntime"])
    assert (first.engine, first.is_usable, third.engine, third.is_usable) == ("opencv", True, "onnxruntime", True)
    assert MIN_ROUNDS <= max(first.rounds, third.rounds) <= ROUNDS
    assert first.milliseconds > 0
    assert not second.is_usable
    assert "engine 'caffe' is not one of" in second.problem
    (wrong,) = time_engines(files, pixels, [right[0] + 1], threads=1, names=["onnxruntime"])
    assert wrong.difference == pytest.approx(1 / 9)
    assert not wrong.is_usable


def test_engine_whose_shared_library_is_missing_is_a_fault_not_a_crash(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(engines, "import_module", broken)
    pixels = np.zeros((2 * CELL, 2 * CELL, 3), np.uint8)
    (timed,) = time_engines(load_model_folder(folder), pixels, [], threads=1, names=["opencv"])
    assert timed.problem == "engine 'opencv' cannot be imported: libGL.so.1: cannot open shared object file"


class ClockedEngine:
    """Each run takes ``seconds`` of ``clock`` and gives ``value``; from run ``fails_at`` on it raises ``fault``."""

    version = "1"

    def __init__(
        self,
        name: str,
        seconds: float,
        value: float,
        clock: list[float],
        fails_at: int = 0,
        fault: Exception | None = None,
    ) -> None:
        self.name, self._seconds, self._value, self._clock = name, seconds, value, clock
        self._fails_at, self._fault, self._runs = fails_at, fault, 0

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        self._runs += 1
        if self._fault and self._runs >= self._fails_at:
            raise self._fault
        self._clock[0] += self._seconds
        return [np.full((1, 2), self._value, np.float32)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


def _time(folder: Path, monkeypatch: pytest.MonkeyPatch, *opened: ClockedEngine) -> tuple[EngineTiming, ...]:
    """What ``time_engines`` says of these, opened in place of the installed ones of their names."""
    modules = {
        engines._PROGRAMS[one.name].module: SimpleNamespace(open_files=lambda *_, one=one, **__: one) for one in opened
    }
    monkeypatch.setattr(engines, "import_module", modules.__getitem__)
    pixels, right = np.zeros((2, 2, 3), np.uint8), [np.ones(2, np.float32)]
    return time_engines(load_model_folder(folder), pixels, right, threads=1, names=[one.name for one in opened])


def test_wrong_engine_does_not_make_the_right_ones_slow(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    opened = ClockedEngine("openvino", 0.001, 2.0, clock), ClockedEngine("onnxruntime", 0.05, 1.0, clock)
    wrong, slower = _time(folder, monkeypatch, *opened)
    assert not wrong.is_usable
    assert (slower.is_usable, slower.rounds, slower.milliseconds) == (True, ROUNDS, 50.0)


def test_engine_left_out_as_slow_does_not_win_by_a_busy_hour_after_it() -> None:
    left_out = EngineTiming("openvino", milliseconds=73.0, rounds=MIN_ROUNDS)
    timed = EngineTiming("opencv", milliseconds=95.0, rounds=ROUNDS), EngineTiming("onnxruntime", "", 93.0, ROUNDS)
    failed = EngineTiming("darknet", problem="ended")
    assert [timing.engine for timing in ranked((left_out, *timed, failed))] == ["onnxruntime", "opencv", "openvino"]
    assert fastest((left_out, *timed, failed)).engine == "onnxruntime"
    assert fastest((left_out, failed)).engine == "openvino"


@pytest.mark.parametrize("fails_at", [1, 2, 5])
@pytest.mark.parametrize("fault", [RuntimeError("no memory"), Exception("[ONNXRuntimeError] no memory")])
def test_engine_that_fails_in_a_run_is_out_and_the_others_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float], fails_at: int, fault: Exception
) -> None:
    failing = ClockedEngine("openvino", 0.02, 1.0, clock, fails_at, fault)
    broken, right = _time(folder, monkeypatch, failing, ClockedEngine("onnxruntime", 0.05, 1.0, clock))
    assert (broken.is_usable, broken.milliseconds, broken.rounds) == (False, 0.0, 0)
    assert broken.problem == f"engine 'openvino' failed: {type(fault).__name__}: {fault}"
    assert (right.is_usable, right.rounds) == (True, ROUNDS)


@pytest.mark.parametrize(("slow_s", "rounds"), [(0.05, MIN_ROUNDS), (timing.SLOW_RUN_S, 1)])
def test_slow_engine_is_left_out_after_a_few_runs_or_one_long_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float], slow_s: float, rounds: int
) -> None:
    opened = ClockedEngine("onnxruntime", 0.01, 1.0, clock), ClockedEngine("darknet", slow_s, 1.0, clock)
    quick, slow = _time(folder, monkeypatch, *opened)
    assert (quick.rounds, slow.rounds, slow.milliseconds) == (ROUNDS, rounds, slow_s * 1000)


def test_rounds_end_with_the_budget(folder: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    (one,) = _time(folder, monkeypatch, ClockedEngine("onnxruntime", timing.BUDGET_S, 1.0, clock))
    assert one.rounds == MIN_ROUNDS
