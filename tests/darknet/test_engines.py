from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from model_wrappers.darknet import Detector, compile_onnx
from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.engines import ENGINES, installed_engines, onnx_runtime, open_engine, opencv_dnn
from model_wrappers.darknet.engines.graph import graph_of
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder, load_model_folder
from model_wrappers.darknet.provenance import CFG_KEY, WEIGHTS_KEY, file_sha256, graph_metadata
from model_wrappers.darknet.reference import run
from model_wrappers.darknet.timing import TOLERANCE, difference
from model_wrappers.darknet.weights import load_weights
from tests.darknet.networks import CELL, write_handmade_model
from tests.data import REPOSITORY, SHARED_DATA

EACH_ENGINE = [
    pytest.param(name, marks=[getattr(pytest.mark, name)] if name in ("darknet", "openvino") else [])
    for name in ENGINES
]
BROKEN = [b"", b"not onnx", b"\x72\xff\xff\xff\xff\x0f", b"\x08\x08" * 50]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_handmade_model(tmp_path / "model")


@pytest.mark.parametrize("name", EACH_ENGINE)
@pytest.mark.parametrize("compiled", [False, True])
def test_engine_gives_the_reference_heads_of_each_image(folder: Path, name: str, compiled: bool) -> None:
    if compiled:
        (folder / "model.onnx").write_bytes(compile_onnx(folder / "cells.cfg", folder / "cells.weights"))
    files = load_model_folder(folder)
    network = load_network(files.cfg_path)
    engine = open_engine(name, files, threads=1)
    images = np.random.default_rng(0).integers(0, 256, (3, 2 * CELL, 2 * CELL, 3), np.uint8)
    (found,) = engine.run(images)
    expected = [run(network, load_weights(files.weights_path, network), image)[-1] for image in images]
    assert difference([np.stack(expected)], [found]) < TOLERANCE
    assert (engine.name, bool(engine.version)) == (name, True)
    assert name in installed_engines()


@pytest.mark.data
@pytest.mark.parametrize("name", EACH_ENGINE)
@pytest.mark.parametrize("model", ["yolo-fastest-1.1", "MobileNetV2-YOLOv3-Nano-voc", "yolo-fastest-xl"])
def test_engine_gives_published_weights_the_same_heads_in_order(name: str, model: str) -> None:
    files = ModelFolder(SHARED_DATA / f"cfg/{model}.cfg", SHARED_DATA / f"weights/{model}.weights", Path("unused"))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 320, 320, 3), np.uint8)
    expected = open_engine("onnxruntime", files, threads=1).run(pixels)
    assert difference(expected, open_engine(name, files, threads=1).run(pixels)) < TOLERANCE


@pytest.mark.parametrize("name", [param for param in EACH_ENGINE if param.values[0] != "darknet"])
def test_engine_refuses_a_broken_graph_by_name(name: str) -> None:
    import importlib

    module = importlib.import_module(f"model_wrappers.darknet.engines.{MODULES[name]}")
    with pytest.raises(EngineError, match="compiled graph: .* refuses it"):
        module.open_graph(b"not onnx", threads=1)


MODULES = {"onnxruntime": "onnx_runtime", "openvino": "open_vino", "opencv": "opencv_dnn"}


def test_engine_that_is_not_installed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "model_wrappers.darknet.engines.open_vino", raising=False)
    with pytest.raises(EngineError, match="engine 'openvino' is not installed: openvino is missing"):
        open_engine("openvino", load_model_folder(folder), threads=1)


def test_opencv_5_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv_dnn.cv2, "__version__", "5.0.0")
    with pytest.raises(EngineError, match=r"engine 'opencv' is OpenCV 4\.x: found 5\.0\.0"):
        opencv_dnn.open_graph(b"", threads=1)


def test_opencvs_thread_count_is_the_engines_only_while_it_runs(folder: Path) -> None:
    before = cv2.getNumThreads()
    seen = []

    class Net:
        def getUnconnectedOutLayersNames(self) -> list[str]:  # noqa: N802  - OpenCV's name
            return ["conv_0"]

        def setInput(self, image: np.ndarray) -> None:  # noqa: N802  - OpenCV's name
            seen.append(cv2.getNumThreads())
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        opencv_dnn.OpenCvEngine(Net(), before + 3).run(np.zeros((1, 2, 2, 3), np.uint8))
    assert (seen, cv2.getNumThreads()) == ([before + 3], before)
    engine = open_engine("opencv", load_model_folder(folder), threads=before + 3)
    assert cv2.getNumThreads() == before
    engine.run(np.zeros((1, 2 * CELL, 2 * CELL, 3), np.uint8))
    assert cv2.getNumThreads() == before


def test_graph_of_a_folder_is_its_own_and_one_of_other_files_is_refused(folder: Path) -> None:
    graph = compile_onnx(folder / "cells.cfg", folder / "cells.weights")
    assert graph_of(load_model_folder(folder)) == graph
    (folder / "model.onnx").write_bytes(graph)
    assert graph_of(load_model_folder(folder)) == folder / "model.onnx"
    weights = bytearray((folder / "cells.weights").read_bytes())
    weights[-1] ^= 1
    (folder / "cells.weights").write_bytes(weights)
    with pytest.raises(EngineError, match=r"model\.onnx: made of darknet\.weights\.sha256 \w+, but .*cells\.weights"):
        Detector(folder)


@pytest.mark.parametrize("graph", BROKEN)
def test_broken_graph_of_a_folder_is_refused(folder: Path, graph: bytes) -> None:
    (folder / "model.onnx").write_bytes(graph)
    assert graph_metadata(folder / "model.onnx") == {}
    with pytest.raises(EngineError, match=r"model\.onnx: made of darknet\.cfg\.sha256 nothing"):
        Detector(folder)


def test_metadata_is_what_onnx_runtime_reads(folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(compile_onnx(folder / "cells.cfg", folder / "cells.weights"))
    theirs = onnx_runtime.open_graph(path, threads=1)._session.get_modelmeta().custom_metadata_map
    assert graph_metadata(path) == dict(theirs)
    assert graph_metadata(path) == {
        CFG_KEY: file_sha256(folder / "cells.cfg"),
        WEIGHTS_KEY: file_sha256(folder / "cells.weights"),
    }


def test_serving_a_compiled_graph_imports_one_engine_and_no_onnx(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(compile_onnx(folder / "cells.cfg", folder / "cells.weights"))
    code = (
        "import sys, pathlib; from model_wrappers.darknet import Detector; "
        f"Detector(pathlib.Path({str(folder)!r})); sys.exit(len({{'onnx', 'openvino', 'cv2'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
