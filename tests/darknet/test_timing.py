from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model_wrappers.darknet import Detector, engines, timing
from model_wrappers.darknet.engines import AUTO
from model_wrappers.darknet.errors import EngineError, ModelFolderError
from model_wrappers.darknet.folder import load_model_folder
from model_wrappers.darknet.timing import (
    MIN_ROUNDS,
    ROUNDS,
    WRONG,
    EngineTiming,
    choose_engine,
    difference,
    fastest,
    load_order,
    render_record,
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


def test_record_lists_all_and_its_order_is_that_of_the_usable(tmp_path: Path) -> None:
    path = tmp_path / "engines.json"
    path.write_text(render_record([SLOWER, FAST_BUT_WRONG, BROKEN, RIGHT], threads=2, machine="a CPU"))
    assert load_order(path) == ("onnxruntime", "opencv")
    document = json.loads(path.read_text())
    assert {row["engine"] for row in document["engines"]} == {"onnxruntime", "opencv", "openvino", "darknet"}
    assert (document["machine"], document["threads"]) == ("a CPU", 2)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"engines": [{"engine": "caffe", "usable": true}]}', '{"engines": [3]}', " " * (1 << 17)],
)
def test_broken_record_is_refused(folder: Path, text: str) -> None:
    (folder / "engines.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"engines\.json: "):
        Detector(folder)


def test_auto_takes_the_first_of_the_record_that_is_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_engine(AUTO, load_model_folder(folder)) == "onnxruntime"
    timings = [EngineTiming("openvino", milliseconds=1), EngineTiming("opencv", milliseconds=2), RIGHT]
    (folder / "engines.json").write_text(render_record(timings, threads=1, machine=""))
    files = load_model_folder(folder)
    monkeypatch.setattr(timing, "installed_engines", lambda: ("opencv", "onnxruntime"))
    assert choose_engine(AUTO, files) == "opencv"
    assert choose_engine("onnxruntime", files) == "onnxruntime"
    assert Detector(folder).engine == "opencv"
    monkeypatch.setattr(timing, "installed_engines", lambda: ("darknet",))
    with pytest.raises(EngineError, match="is one of openvino, opencv, onnxruntime, but installed are darknet"):
        choose_engine(AUTO, files)


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
    """Each run takes ``seconds`` of ``clock`` and gives ``value``."""

    version = "1"

    def __init__(self, name: str, seconds: float, value: float, clock: list[float]) -> None:
        self.name, self._seconds, self._value, self._clock = name, seconds, value, clock

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        self._clock[0] += self._seconds
        return [np.full((1, 2), self._value, np.float32)]


def test_wrong_engine_does_not_make_the_right_ones_slow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    engines_of = {
        "openvino": ClockedEngine("openvino", 0.001, 2.0, clock),
        "onnxruntime": ClockedEngine("onnxruntime", 0.05, 1.0, clock),
    }
    monkeypatch.setattr(timing, "open_engine", lambda name, *_, **__: engines_of[name])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    pixels, right = np.zeros((2, 2, 3), np.uint8), [np.ones(2, np.float32)]
    wrong, slower = time_engines(load_model_folder(folder), pixels, right, threads=1, names=list(engines_of))
    assert not wrong.is_usable
    assert (slower.is_usable, slower.rounds, slower.milliseconds) == (True, ROUNDS, 50.0)
