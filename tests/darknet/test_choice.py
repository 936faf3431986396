"""Which engine answers, and what is said about it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_wrappers.darknet import Detector, EngineError, ModelFolderError
from model_wrappers.darknet.cpu import machine_name
from model_wrappers.darknet.engines import ENGINES, INT8_ENGINE, choice, onnx_runtime, open_engine
from model_wrappers.darknet.engines.record import MAX_RECORD_BYTES, EngineRecord, load_record, render_record
from model_wrappers.darknet.folder import load_model_folder
from model_wrappers.darknet.provenance import file_sha256
from model_wrappers.darknet.timing import EngineTiming
from tests.darknet.networks import CELL, write_handmade_model

WRONG = EngineTiming("openvino", "1", 1.0, 20, difference=0.02)
OPENCV = EngineTiming("opencv", "4", 2.0, 20, difference=1e-6)
ONNX_RUNTIME = EngineTiming("onnxruntime", onnx_runtime.OnnxRuntimeEngine.version, 3.0, 20, difference=1e-6)
BROKEN = EngineTiming("darknet", problem="cannot run it")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_handmade_model(tmp_path / "model")


def record_of(folder: Path, *timings: EngineTiming) -> EngineRecord:
    digests = file_sha256(folder / "cells.cfg"), file_sha256(folder / "cells.weights")
    return EngineRecord(*digests, machine_name(), 1, timings)


def write_record(folder: Path, *timings: EngineTiming, **changes: Any) -> None:
    (folder / "engines.json").write_text(render_record(replace(record_of(folder, *timings), **changes)))


def test_record_is_read_as_written_with_the_usable_ones_first(folder: Path) -> None:
    small = EngineTiming("onnxruntime-int8", "1", 1.5, 20, 0.04, map_loss=0.001, max_map_loss=0.01)
    record = record_of(folder, ONNX_RUNTIME, WRONG, BROKEN, small, OPENCV)
    (folder / "engines.json").write_text(render_record(record))
    read = load_record(folder / "engines.json")
    assert read == replace(record, timings=(small, OPENCV, ONNX_RUNTIME, WRONG, BROKEN))
    assert read.order == (small, OPENCV, ONNX_RUNTIME)
    document = json.loads((folder / "engines.json").read_text())
    assert [row["usable"] for row in document["engines"]] == [True, True, True, False, False]


def _row(**changes: Any) -> str:
    row = {**json.loads(render_record(EngineRecord("", "", "", 1, (ONNX_RUNTIME,))))["engines"][0], **changes}
    return json.dumps({"cfg_sha256": "", "weights_sha256": "", "machine": "", "threads": 1, "engines": [row]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"engines": [{"engine": "onnxruntime", "usable": true}]}',
        _row(engine="caffe"),
        _row(milliseconds=float("nan")),
        _row(rounds=float("inf")),
        _row(difference="0"),
        _row(problem=None),
        " " * (MAX_RECORD_BYTES + 1),
    ],
)
def test_broken_record_is_refused(folder: Path, text: str) -> None:
    (folder / "engines.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"engines\.json: "):
        Detector(folder)


finite = st.floats(allow_nan=False, allow_infinity=False)
timings = st.builds(
    EngineTiming,
    engine=st.sampled_from((*ENGINES, INT8_ENGINE)),
    version=st.text(max_size=9),
    milliseconds=finite,
    rounds=st.integers(0, 99),
    difference=finite,
    problem=st.text(max_size=9),
    map_loss=st.none() | finite,
    max_map_loss=st.none() | finite,
)
records = st.builds(
    EngineRecord,
    cfg_sha256=st.text(max_size=9),
    weights_sha256=st.text(max_size=9),
    machine=st.text(max_size=9),
    threads=st.integers(1, 256),
    timings=st.lists(timings, max_size=4).map(tuple),
)


@given(record=records)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_record_is_read_as_written(tmp_path: Path, record: EngineRecord) -> None:
    path = tmp_path / "engines.json"
    path.write_text(render_record(record))
    read = load_record(path)
    assert replace(read, timings=()) == replace(record, timings=())
    assert read.order == record.order
    assert sorted(map(repr, read.timings)) == sorted(map(repr, record.timings))


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(record=records.filter(lambda one: one.timings), key=st.integers(0, 99), value=values)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much], max_examples=100)
def test_record_with_any_value_in_any_place_is_read_or_refused(
    tmp_path: Path, record: EngineRecord, key: int, value: Any
) -> None:
    document = json.loads(render_record(record))
    row = document["engines"][0]
    place = [(part, name) for part in (document, row) for name in part]
    part, name = place[key % len(place)]
    part[name] = value
    path = tmp_path / "engines.json"
    path.write_text(json.dumps(document))
    try:
        read = load_record(path)
    except ModelFolderError as exc:
        assert str(path) in str(exc)
    else:
        assert read.order == tuple(sorted(read.order, key=lambda one: one.milliseconds))


@pytest.mark.parametrize("name", ["cells.cfg", "cells.weights"])
def test_record_of_other_files_is_refused_unless_an_engine_is_named(folder: Path, name: str) -> None:
    write_record(folder, ONNX_RUNTIME)
    path = folder / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data if name == "cells.weights" else path.read_bytes() + b"\n# edited\n")
    with pytest.raises(
        EngineError, match=rf"engines\.json: is of a file with SHA-256 \w+, but .*{name} is \w+: register"
    ):
        Detector(folder)
    assert Detector(folder, engine="onnxruntime").engine == "onnxruntime"


def test_fastest_recorded_engine_answers_and_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, choice.__name__)
    write_record(folder, WRONG, ONNX_RUNTIME)
    detector = Detector(folder, threads=1)
    assert (detector.engine, detector.engine_version) == ("onnxruntime", ONNX_RUNTIME.version)
    (line,) = caplog.messages
    assert line == f"cells.weights: engine onnxruntime {ONNX_RUNTIME.version}, threads 1"
    assert [one.levelname for one in caplog.records] == ["INFO"]


def test_no_record_and_a_named_engine_are_told_too(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, choice.__name__)
    Detector(folder, threads=1)
    Detector(folder, threads=1, engine="opencv")
    assert [" ".join(line.split()[1:3]) for line in caplog.messages] == ["engine onnxruntime", "engine opencv"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"machine": "another CPU"}, "machine another CPU (here "),
        ({"threads": 8}, "threads 8 (here 1)"),
        ({"timings": (replace(ONNX_RUNTIME, version="0.1"),)}, f"onnxruntime 0.1 (here {ONNX_RUNTIME.version})"),
    ],
)
def test_record_of_another_machine_is_kept_and_said_so_in_one_line(
    folder: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], said: str
) -> None:
    write_record(folder, ONNX_RUNTIME, **changes)
    assert Detector(folder, threads=1).engine == "onnxruntime"
    (line,) = caplog.messages
    assert f"; engines.json is of {said}" in line
    assert line.endswith(": its order is kept")


def test_engine_that_does_not_open_gives_way_to_the_next_and_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = EngineTiming("darknet", "1", 0.5, 20, 0.0)
    write_record(folder, ONNX_RUNTIME, OPENCV, missing)
    monkeypatch.setenv("LIBDARKNET", str(folder / "gone.so"))
    real = choice.open_engine

    def fails_to_run(name: str, *arguments: Any, **named: Any) -> Any:
        engine = real(name, *arguments, **named)
        return replace_run(engine, EngineError("engine 'opencv' failed: no memory")) if name == "opencv" else engine

    monkeypatch.setattr(choice, "open_engine", fails_to_run)
    assert Detector(folder, threads=1).engine == "onnxruntime"
    (line,) = caplog.messages
    assert "darknet, recorded as faster, does not open: engine 'darknet' is not installed" in line
    assert "opencv, recorded as faster, does not open: engine 'opencv' failed: no memory" in line


def replace_run(engine: Any, fault: Exception) -> Any:
    def run(images: np.ndarray) -> None:
        raise fault

    return SimpleNamespace(name=engine.name, version=engine.version, run=run)


def test_record_of_which_nothing_opens_names_each_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBDARKNET", str(folder / "gone.so"))
    write_record(folder, EngineTiming("darknet", "1", 0.5, 20, 0.0))
    with pytest.raises(EngineError, match=r"engines\.json: no engine of it opens: darknet, .*apt-get install darknet"):
        Detector(folder)
    write_record(folder, WRONG)
    with pytest.raises(EngineError, match=r"no engine of it opens: none is within tolerance"):
        Detector(folder)


def test_every_failure_of_an_engine_names_it(folder: Path) -> None:
    engine = open_engine("onnxruntime", load_model_folder(folder), threads=1)
    with pytest.raises(EngineError, match=r"engine 'onnxruntime' failed: InvalidArgument: .*INVALID_ARGUMENT"):
        engine.run(np.zeros((1, CELL, CELL, 3), np.uint8))
    assert set(ENGINES) == {"onnxruntime", "openvino", "opencv", "darknet"}
