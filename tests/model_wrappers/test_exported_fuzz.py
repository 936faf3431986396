"""Whatever stands in a ``detector.yaml``, or comes out of a graph, is an answer or an error of its own kind, and soon."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model_wrappers.darknet import Size
from model_wrappers.darknet.detections import to_detections
from model_wrappers.exported import LayoutError, load_layout
from model_wrappers.exported.decode import decode
from model_wrappers.exported.layout import LAYOUT_NAME, Layout, Outputs
from tests.darknet.fuzzing import EXAMPLES, mutated, read_bounded

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path.name for path in CORPUS.glob("*.yaml"))
ACCEPTED = {"comments.yaml", "exponent.yaml", "ssd.yaml", "utf-16.yaml", "yolov5.yaml", "yolov8.yaml"}
LONGEST_ANSWER = 500  # beyond the path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").touch()
    (tmp_path / "two.names").touch()
    return tmp_path


def read_layout(path: Path) -> None:
    layout = load_layout(path.parent)
    assert layout.graph.parent == path.parent


@pytest.mark.parametrize("name", FILES)
def test_corpus_layout_is_read_or_refused_by_name(folder: Path, name: str) -> None:
    path = folder / LAYOUT_NAME
    path.write_bytes((CORPUS / name).read_bytes())
    answer = read_bounded(read_layout, path, LayoutError)
    assert (answer == "") == (name in ACCEPTED), answer
    assert answer == "" or answer.startswith(f"{path}: ")
    assert len(answer) < LONGEST_ANSWER + len(str(path))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=mutated([(CORPUS / name).read_bytes() for name in FILES]))
def test_mutated_layout_is_read_or_refused_by_name(folder: Path, data: bytes) -> None:
    path = folder / LAYOUT_NAME
    path.write_bytes(data)
    answer = read_bounded(read_layout, path, LayoutError)
    assert answer == "" or answer.startswith(f"{path}: ")
    assert len(answer) < LONGEST_ANSWER + len(str(path))


SIZES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=8)
TYPES = st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_])
TENSORS = TYPES.flatmap(lambda kind: hnp.arrays(kind, SIZES))
ROWS = st.integers(0, 8)
WIDE = st.floats(width=32)  # infinities and NaN among them


@st.composite
def fitting(draw: st.DrawFn, layout: Layout) -> dict[str, Any]:
    """Outputs of the right shapes with any numbers in them."""
    count = draw(ROWS)

    def array(*shape: int) -> np.ndarray:
        return draw(hnp.arrays(np.float32, shape, elements=st.one_of(WIDE, st.floats(0, 1, width=32))))

    if layout.family == "yolov5":
        return {"output": array(1, count, 7)}
    if layout.family == "yolov8":
        return {"output": array(1, 6, count)}
    scores = array(1, count) if layout.outputs.labels else array(1, count, 2 + layout.first_class)
    return {"boxes": array(1, count, 4), "scores": scores, "labels": array(1, count)}


LAYOUTS = [
    Layout(Path("m"), Path("n"), "yolov5"),
    Layout(Path("m"), Path("n"), "yolov8"),
    Layout(Path("m"), Path("n"), "ssd", outputs=Outputs(labels="labels"), boxes="corners-yx", first_class=1),
    Layout(Path("m"), Path("n"), "ssd", boxes="centre", unit="pixel", first_class=1),
]


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_any_outputs_are_decoded_or_refused(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(LAYOUTS))
    anything = st.fixed_dictionaries({"boxes": TENSORS, "scores": TENSORS, "labels": TENSORS})
    outputs = data.draw(st.one_of(fitting(layout), anything))
    net = Size(64, 32)
    try:
        found = decode(layout, outputs, net, 2, 0.25)
    except ValueError as exc:
        assert re.match("output |has no output |gives a score |scores have |[0-9]+ boxes have ", str(exc))
        return
    assert len(found.centres) == len(found.objectness)
    assert set(found.pairs.box.tolist()) == set(range(len(found.objectness)))
    assert ((found.pairs.confidence > 0.25) & (found.pairs.confidence <= 1)).all()
    for one in to_detections(found, names=("a", "b"), photo=Size(640, 480), net=net, iou=0.45, nms="obj", clip=True):
        assert 0 <= one.box.x_min < one.box.x_max <= 640
        assert 0 <= one.box.y_min < one.box.y_max <= 480
