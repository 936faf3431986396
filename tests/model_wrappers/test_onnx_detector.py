"""Graphs of each family that give fixed boxes, times the mean of the photo where that shows what went in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_wrappers import wire
from model_wrappers.darknet import EngineError, InputError, Size
from model_wrappers.exported import ExportedDetector, LayoutError, load_layout
from model_wrappers.exported.decode import decode
from model_wrappers.exported.detector import to_tensor
from model_wrappers.exported.layout import MAX_LAYOUT_BYTES, Picture
from model_wrappers.onnx_detector import OnnxDetector
from model_wrappers.yolo_detector import YoloDetector
from tests.darknet.networks import write_handmade_model

SIDE = 64
NAMES = ("red", "green")
FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


def write_graph(
    path: Path,
    outputs: dict[str, np.ndarray],
    *,
    shape: tuple[Any, ...] = (1, 3, SIDE, SIDE),
    kind: int = FLOAT,
) -> None:
    """A graph whose outputs are these constants, plus 0 times the photo's mean so that the photo is read."""
    nodes, constants, infos = [], [], []
    nodes.append(helper.make_node("Cast", ["images"], ["floats"], to=FLOAT))
    nodes.append(helper.make_node("ReduceMean", ["floats"], ["mean"], keepdims=0))
    constants.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    for name, value in outputs.items():
        constants.append(numpy_helper.from_array(value.astype(np.float32), f"{name}_value"))
        nodes.append(helper.make_node("Add", [f"{name}_value", "nothing"], [f"{name}_float"]))
        element = TensorProto.INT64 if value.dtype == np.int64 else FLOAT
        nodes.append(helper.make_node("Cast", [f"{name}_float"], [name], to=element))
        infos.append(helper.make_tensor_value_info(name, element, value.shape))
    taken = helper.make_tensor_value_info("images", kind, shape)
    graph = helper.make_graph(nodes, "fixed", [taken], infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def write_folder(folder: Path, outputs: dict[str, np.ndarray], text: str, **graph: Any) -> Path:
    folder.mkdir(exist_ok=True)
    write_graph(folder / "model.onnx", outputs, **graph)
    (folder / "two.names").write_text("".join(f"{name}\n" for name in NAMES))
    (folder / "detector.yaml").write_text(f"graph: model.onnx\nnames: two.names\n{text}")
    return folder


# one box, corners 8 16 40 48 of 64, sure to be green; and a weak one; in each family's own terms
V5 = np.array([[[24, 32, 32, 32, 0.9, 0.1, 0.8], [24, 32, 32, 32, 0.2, 0.9, 0.1]]], np.float32)
V8 = np.array([[[24, 32, 32, 32, 0.1, 0.72], [24, 32, 32, 32, 0.1, 0.02]]], np.float32).transpose(0, 2, 1)
SHARES = np.array([[[8, 16, 40, 48], [8, 16, 40, 48]]], np.float32) / SIDE
SSD = {"boxes": SHARES, "scores": np.array([[0.72, 0.2]], np.float32), "labels": np.array([[2, 1]], np.int64)}
TORCHVISION = {
    "boxes": SHARES[0] * SIDE,
    "scores": np.array([0.72, 0.2], np.float32),
    "labels": np.array([2, 1], np.int64),
}
TENSORFLOW = {
    "detection_boxes": SHARES[:, :, [1, 0, 3, 2]],
    "detection_scores": SSD["scores"],
    "detection_classes": np.array([[2.0, 1.0]], np.float32),
}
COLUMNS = {
    "boxes": np.array([[[24, 32, 32, 32]]], np.float32) / SIDE,
    "scores": np.array([[[0.2, 0.05, 0.72]]], np.float32),
}
TENSORFLOW_NAMES = "{boxes: detection_boxes, scores: detection_scores, labels: detection_classes}"
FAMILIES = {
    "yolov5": ({"output": V5}, "family: yolov5\n"),
    "yolov8": ({"output0": V8}, "family: yolov8\n"),
    "ssd": (SSD, "family: ssd\nfirst_class: 1\noutputs: {labels: labels}\n"),
    "torchvision": (TORCHVISION, "family: ssd\nfirst_class: 1\nunit: pixel\noutputs: {labels: labels}\n"),
    "tensorflow": (TENSORFLOW, f"family: ssd\nfirst_class: 1\nboxes: corners-yx\noutputs: {TENSORFLOW_NAMES}\n"),
    "columns": (COLUMNS, "family: ssd\nfirst_class: 1\nboxes: centre\n"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model", *FAMILIES["yolov8"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("component", [YoloDetector, OnnxDetector])
def test_each_family_gives_the_reply_of_yolo_detector(
    tmp_path: Path, family: str, component: type[YoloDetector]
) -> None:
    detector = component(model_uri=str(write_folder(tmp_path / "model", *FAMILIES[family])), confidence=0.25)
    detector.load()
    reply = detector.predict(wire.encode((128, 128), np.zeros((SIDE, SIDE, 3), np.uint8)))
    (found,) = reply["detections"]
    assert (found["label"], found["class_id"]) == ("green", 1)
    assert found["confidence"] == pytest.approx(0.72, abs=1e-4)
    assert found["box"] == {"x_min": 16, "y_min": 32, "x_max": 80, "y_max": 96}
    assert reply["image"] == {"width": 128, "height": 128}
    assert set(reply["model"]) == {"name", "version", "digest"}
    assert detector.init_metadata()["platform"] == "onnx"


def test_swap_of_the_folder_alone_changes_the_family(tmp_path: Path) -> None:
    replies = []
    for folder in (write_handmade_model(tmp_path / "darknet"), write_folder(tmp_path / "v5", *FAMILIES["yolov5"])):
        detector = YoloDetector(model_uri=str(folder), confidence=0.25)
        detector.load()
        replies.append(detector.predict(wire.encode((SIDE, SIDE), np.full((SIDE, SIDE, 3), 255, np.uint8))))
    assert [set(reply) for reply in replies] == [{"detections", "image", "model"}] * 2
    assert [set(reply["detections"][0]) for reply in replies] == [{"label", "class_id", "confidence", "box"}] * 2


def test_wide_photo_is_mapped_back_through_the_letterbox_and_clipped(folder: Path) -> None:
    photo = np.zeros((100, 200, 3), np.uint8)  # lies in rows 16 to 48 of the input
    (found,) = ExportedDetector(folder).detect(photo)
    assert (found.box.x_min, found.box.y_min, found.box.x_max, found.box.y_max) == (25, 0, 125, 100)
    weak = ExportedDetector(folder, confidence=0.05, nms="obj").detect(photo)
    assert [round(one.confidence, 2) for one in weak] == [0.72, 0.1]


@pytest.mark.parametrize(
    ("picture", "shape", "kind"),
    [
        ("{layout: nhwc}", (1, SIDE, SIDE, 3), FLOAT),
        ("{layout: nhwc}", ("N", SIDE, SIDE, 3), UINT8),
        ("{size: 64x64}", ("N", 3, "H", "W"), FLOAT),
        ("{size: 64x64}", (1, 3, "H", SIDE), FLOAT),
        ("{}", (1, 3, SIDE, SIDE), TensorProto.FLOAT16),
        ("{size: 64x64, order: bgr, scale: 1, mean: [123, 117, 104], std: [58, 57, 57]}", (1, 3, SIDE, SIDE), FLOAT),
    ],
)
def test_input_forms(tmp_path: Path, picture: str, shape: tuple[Any, ...], kind: int) -> None:
    outputs, text = FAMILIES["yolov8"]
    detector = ExportedDetector(
        write_folder(tmp_path / "m", outputs, f"{text}input: {picture}\n", shape=shape, kind=kind)
    )
    assert detector.input == Size(SIDE, SIDE)
    assert len(detector.detect(np.zeros((SIDE, SIDE, 3), np.uint8))) == 1


def test_to_tensor_orders_scales_and_shifts() -> None:
    pixels = np.array([[[255, 0, 51]]], np.uint8)
    assert to_tensor(pixels, Picture(), np.float32).ravel() == pytest.approx([1, 0, 0.2])
    assert to_tensor(pixels, Picture(order="bgr", layout="nhwc"), np.uint8).tolist() == [[[[51, 0, 255]]]]
    shifted = to_tensor(pixels, Picture(scale=1, mean=(5, 0, 1), std=(10, 1, 2)), np.float32)
    assert shifted.shape == (1, 3, 1, 1)
    assert shifted.ravel() == pytest.approx([25, 0, 25])


GOOD = "graph: model.onnx\nnames: two.names\nfamily: yolov8\n"
SSD_TEXT = GOOD.replace("yolov8", "ssd")
REFUSED = [
    ("- 1\n", "the file: a mapping is expected"),
    ("a: [\n", "is not YAML"),
    ("#" * (MAX_LAYOUT_BYTES + 1), "is larger than"),
    (GOOD.replace("yolov8", "yolov3"), "family: 'yolov3' is not one of yolov5, yolov8, ssd"),
    (GOOD.replace("model.onnx", "../model.onnx"), "graph: '../model.onnx' leaves the folder"),
    (GOOD.replace("two.names", "gone.names"), "names: 'gone.names' is no file beside it"),
    (GOOD + "threshold: 1\n", "threshold: unknown key"),
    (GOOD + "input: {colour: rgb}\n", "input.colour: unknown key"),
    (GOOD + "input: rgb\n", "input: a mapping is expected, found 'rgb'"),
    (GOOD + "input: {mean: [1, 2]}\n", r"input.mean: \['1', '2'\]: 3 numbers expected"),
    (GOOD + "input: {scale: .nan}\n", "input.scale: '.nan': 1 number expected"),
    (GOOD + "input: {scale: 0}\n", "input.scale: scale and std must be above 0"),
    (GOOD + "input: {size: 64}\n", "input.size: '64': WIDTHxHEIGHT is expected"),
    (GOOD + "input: {scale: 1" + "0" * 5000 + "}\n", "input.scale: '1000.*…: 1 number expected"),
    (GOOD + "input: {scale: true}\n", "input.scale: 'true': 1 number expected"),
    (GOOD + "family: yolov5\n", "is not YAML that can be used: this key stands twice"),
    (GOOD + "more: &a [x]\nunit: *a\n", "is not YAML that can be used: an alias is not possible here"),
    (GOOD + "unit: " + "[" * 3000, "is not YAML that can be used: nested deeper than 8"),
    (GOOD + "? [a]\n: b\n", "is not YAML that can be used: a key is a text"),
    (GOOD + "---\n" + GOOD, "is not YAML that can be used: expected a single document"),
    ("", "the file: a mapping is expected, found ''"),
    (GOOD.replace("yolov8", "2001-99-99"), "family: '2001-99-99' is not one of"),
    (GOOD.replace("model.onnx", "m" * 5000), "graph: 'mmm.*…: File name too long"),
    (GOOD.replace("model.onnx", "[model.onnx]"), r"graph: \['model.onnx'\]: a name is expected"),
    (GOOD + "boxes: corners\n", "boxes: only an ssd has it: a yolov8 says where its boxes are"),
    (GOOD + "outputs: {labels: a}\n", "outputs: only an ssd has it"),
    (GOOD + "first_class: 1\n", "first_class: only an ssd has it"),
    (SSD_TEXT + "first_class: 1.5\n", "first_class: 1.5: a whole number from 0 to 20000 is expected"),
    (SSD_TEXT + "first_class: -1\n", "first_class: -1: a whole number from 0 to 20000 is expected"),
    (SSD_TEXT + "outputs: {labels: [1]}\n", r"outputs.labels: \['1'\]: a name is expected"),
    (GOOD + "input: {size: 32x32}\n", "input.size: 32x32, but model.onnx takes 64x64"),
    (GOOD + "input: {layout: nhwc}\n", r"input.layout: nhwc means 64 channels"),
    (
        GOOD.replace("yolov8", "yolov5"),
        r"model.onnx output output0 is \[1, 6, 2\], yolov5 with 2 names gives \[1, N, 7\]",
    ),
    (GOOD.replace("yolov8", "ssd"), "model.onnx has no output boxes: it gives output0"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_wrong_layout_is_refused_at_load_and_named(folder: Path, text: str, message: str) -> None:
    (folder / "detector.yaml").write_text(text)
    with pytest.raises(LayoutError, match=f"detector.yaml: {message}"):
        ExportedDetector(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros((1, 2, 2), np.float32)}, "2 boxes have 4 scores and 2 labels"),
        ({"labels": np.zeros((1, 3), np.int64)}, "2 boxes have 2 scores and 3 labels"),
    ],
)
def test_ssd_tensors_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        ExportedDetector(write_folder(tmp_path / "m", {**SSD, **change}, FAMILIES["ssd"][1]))


@pytest.mark.parametrize(
    ("family", "was", "declared", "meant"),
    [
        ("torchvision", "unit: pixel", "unit: share", "unit: pixel"),
        ("ssd", "first_class: 1", "first_class: 1\nunit: pixel", "unit: share"),
        ("columns", "boxes: centre", "boxes: corners", "boxes: centre"),
    ],
)
def test_boxes_declared_otherwise_than_they_are_are_refused_at_load(
    tmp_path: Path, family: str, was: str, declared: str, meant: str
) -> None:
    outputs, text = FAMILIES[family]
    if family == "columns":  # centre and size of a small box
        outputs = {**outputs, "boxes": np.array([[[40, 40, 8, 8]]], np.float32) / SIDE}
    folder = write_folder(tmp_path / "m", outputs, text.replace(was, declared))
    with pytest.raises(LayoutError, match=f"model.onnx has boxes .* is `{meant}` meant"):
        ExportedDetector(folder)


def test_score_columns_must_be_the_names(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", COLUMNS, "family: ssd\nboxes: centre\n")
    with pytest.raises(LayoutError, match="scores have 3 columns, first_class 0 and 2 names need 2"):
        ExportedDetector(folder)


@pytest.mark.parametrize(
    ("graph", "more", "message"),
    [
        ({"kind": TensorProto.INT32}, "", r"takes images tensor\(int32\)"),
        ({"shape": (1, 3, "H", "W")}, "", "leaves its size open"),
        ({"shape": (1, 3, "H", SIDE)}, "input: {size: 32x64}\n", "input.size: 32x64, but model.onnx takes 64xH"),
        ({"shape": (8, 3, SIDE, SIDE)}, "", "takes 8 pictures at a time: a graph for one, or any number, is expected"),
        ({"shape": (1, 3, 5000, SIDE)}, "", "input.size: 64x5000: sides of 1 to 4096 are possible"),
        ({"shape": (3, SIDE, SIDE)}, "", "one tensor of pictures, float, float16 or uint8, is expected"),
        ({"kind": UINT8}, "input: {scale: 1}\n", "takes uint8, which is neither scaled nor shifted by mean and std"),
    ],
)
def test_graphs_with_another_input_are_refused(tmp_path: Path, graph: dict[str, Any], more: str, message: str) -> None:
    outputs, text = FAMILIES["yolov8"]
    with pytest.raises(LayoutError, match=message):
        ExportedDetector(write_folder(tmp_path / "a", outputs, text + more, **graph))


@pytest.mark.parametrize("family", ["ssd", "torchvision", "tensorflow", "columns"])
def test_ssd_that_finds_nothing_gives_no_detections(tmp_path: Path, family: str) -> None:
    """An export with NMS inside gives as many rows as it finds: on the grey picture at load that is often none."""
    outputs, text = FAMILIES[family]
    none = {
        name: value[:0] if value.ndim == 1 or (name == "boxes" and family == "torchvision") else value[:, :0]
        for name, value in outputs.items()
    }
    assert ExportedDetector(write_folder(tmp_path / "m", none, text)).detect(np.zeros((9, 9, 3), np.uint8)) == []


def test_scores_above_one_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", {"output0": V8 * 10}, "family: yolov8\n")
    with pytest.raises(LayoutError, match="gives a score of 7.2, which is above 1: does it lack the last sigmoid"):
        ExportedDetector(folder)


def test_thresholds_of_one_call_replace_those_of_the_detector(folder: Path) -> None:
    detector, photo = ExportedDetector(folder, nms="obj"), np.zeros((SIDE, SIDE, 3), np.uint8)
    assert len(detector.detect(photo)) == 1
    assert len(detector.detect(photo, confidence=0.05)) == 2
    assert detector.detect(photo, confidence=0.8) == []


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "has no output boxes: it gives "),
        (
            {"boxes": np.zeros((1, 2, 4)), "scores": ["a"], "labels": SSD["labels"]},
            "output scores is no tensor of numbers",
        ),
        ({**SSD, "boxes": np.zeros((2, 2, 4))}, r"output boxes is \[2, 2, 4\]: \[1, N, 4\] is expected"),
        ({**SSD, "boxes": np.zeros((8,))}, r"output boxes is \[8\]: \[1, N, 4\] is expected"),
    ],
)
def test_decode_names_outputs_that_do_not_fit(outputs: dict[str, Any], message: str, tmp_path: Path) -> None:
    layout = load_layout(write_folder(tmp_path / "m", *FAMILIES["ssd"]))
    with pytest.raises(ValueError, match=message):
        decode(layout, outputs, Size(SIDE, SIDE), 2, 0.25)


@pytest.mark.parametrize("family", ["yolov5", "yolov8"])
@pytest.mark.parametrize("shape", [(), (7,), (0, 7, 7), (2, 7, 7), (7, 7), (1, 1, 7, 7)])
def test_decode_refuses_other_shapes_of_a_yolo(tmp_path: Path, family: str, shape: tuple[int, ...]) -> None:
    layout = load_layout(write_folder(tmp_path / "m", *FAMILIES[family]))
    with pytest.raises(
        ValueError, match=f"output output is {re.escape(str(list(shape)))}, {family} with 2 names gives"
    ):
        decode(layout, {"output": np.zeros(shape, np.float32)}, Size(SIDE, SIDE), 2, 0.25)


def test_decode_drops_boxes_that_are_none(tmp_path: Path) -> None:
    layout = load_layout(write_folder(tmp_path / "m", *FAMILIES["yolov8"]))
    rows = np.repeat(V8[:, :, :1], 6, axis=2)
    rows[0, 0, 1], rows[0, 1, 2], rows[0, 2, 3], rows[0, 3, 4] = np.nan, 1e30, 0, -5
    rows[0, 4, 5] = np.nan  # of one class
    found = decode(layout, {"output": rows}, Size(SIDE, SIDE), 2, 0.25)
    assert found.centres.tolist() == [[24 / 64, 0.5, 0.5, 0.5]]
    assert found.objectness == pytest.approx([0.72])


def test_missing_files_engines_and_thresholds_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"detector\.yaml: cannot be read: No such file"):
        OnnxDetector(model_uri=str(write_handmade_model(tmp_path / "darknet"))).load()
    with pytest.raises(ValueError, match="engine='opencv': exported graphs run on onnxruntime"):
        OnnxDetector(model_uri=str(folder), engine="opencv").load()
    with pytest.raises(ValueError, match="confidence=3: a number from 0 to 1"):
        ExportedDetector(folder, confidence=3)
    with pytest.raises(ValueError, match="nms='soft' is not one of sort, obj"):
        ExportedDetector(folder, nms="soft")
    with pytest.raises(InputError, match="the pixels are 2x2, the graph's input is 64x64"):
        ExportedDetector(folder).detect_letterboxed(np.zeros((2, 2, 3), np.uint8), Size(2, 2))
    (folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError, match=r"model\.onnx: ONNX Runtime refuses it"):
        ExportedDetector(folder)


def test_documented_layouts_are_read(folder: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "darknet.md").read_text()
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "family:" in block]
    found = []
    for block in blocks:
        (folder / "detector.yaml").write_text(block)
        for name in re.findall(r"(?m)^(?:graph|names): (\S+)$", block):
            (folder / name).touch()
        found.append(load_layout(folder).family)
    assert found == ["yolov8", "ssd"]


def test_load_layout_fills_in_the_defaults(folder: Path) -> None:
    layout = load_layout(folder)
    assert (layout.family, layout.picture, layout.unit, layout.first_class) == ("yolov8", Picture(), "share", 0)
