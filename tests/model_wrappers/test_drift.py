"""DetectionDrift with a real detector: what it registers, what it passes on, when it alarms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from model_wrappers import wire
from model_wrappers.darknet import Detector
from model_wrappers.darknet.letterbox import Size, letterbox
from model_wrappers.drift import (
    REFERENCE_NAME,
    DetectionDrift,
    DriftReferenceError,
    Reference,
    build_reference,
    load_reference,
    photos_in,
)
from model_wrappers.drift.facts import Seen, brightness, seen
from model_wrappers.drift.reference import MAX_PHOTOS
from model_wrappers.errors import ComponentError
from model_wrappers.model_identity import IDENTITY_NAME
from models.shapes.draw import draw
from models.shapes.evaluate import shapes_model
from slipway.microservice.component import component_of
from slipway.microservice.custom_metrics import CustomMetrics, checked_metrics
from slipway.microservice.hooks import Hooks
from slipway.microservice.inputs import Input
from slipway.microservice.metadata import check_metadata, read_metadata
from slipway.microservice.replies import is_exact_in_proto
from slipway.microservice.settings import Identity
from slipway.microservice.v2_calls import ServedModel, call_v2
from slipway.serving.v2_messages import InferRequest
from slipway.serving.v2_tensors import Tensor, objects

PHOTOS, WINDOW = 120, 40
LIVE = 5000  # seed of the first photo that the reference has not seen
DIGEST = "sha256:" + "1" * 64
Pixels = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(shapes_model(2), threads=1)


@pytest.fixture(scope="module")
def reference(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(PHOTOS):
        bgr = cv2.cvtColor(draw(seed).pixels, cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(folder / f"{seed:03}.png"), bgr)
    (folder / "labels.txt").write_text("no photo")
    photos = photos_in(folder)
    assert len(photos) == PHOTOS
    return build_reference(detector, photos)


@pytest.fixture
def folder(reference: Reference, tmp_path: Path) -> Path:
    """A model folder, as far as this component reads one."""
    (tmp_path / REFERENCE_NAME).write_text(reference.to_json())
    identity = {"name": "shapes", "version": "2", "digest": DIGEST, "uri": "models:/shapes/2"}
    (tmp_path / IDENTITY_NAME).write_text(json.dumps(identity))
    return tmp_path


@pytest.fixture
def drift(folder: Path) -> DetectionDrift:
    component = DetectionDrift(folder.as_uri(), window=WINDOW, confidence=0.25)
    component.load()
    return component


def answer(detector: Detector, record: bytes, *, digest: str = DIGEST) -> dict[str, Any]:
    size, pixels = wire.decode(record)
    found = detector.detect_letterboxed(pixels, Size(*size))
    model = {"name": "shapes", "version": "2", "digest": digest}
    image = {"width": size.width, "height": size.height}
    return {"detections": [one.to_json() for one in found], "image": image, "model": model}


def watch(drift: DetectionDrift, detector: Detector, photos: Sequence[Pixels]) -> list[dict[str, Any]]:
    """Each photo through the node, as the executor does it; the tags of the answers."""
    tags = []
    for rgb in photos:
        record = wire.encode((rgb.shape[1], rgb.shape[0]), letterbox(rgb, detector.input))
        assert drift.transform_input(record) is record
        assert drift.tags() == {}
        assert drift.metrics() == []
        message = answer(detector, record)
        before = json.dumps(message)
        assert drift.transform_output(message) is message
        assert json.dumps(message) == before
        tags.append(drift.tags()["drift"])
    return tags


def live(count: int, change: Callable[[Pixels], Pixels] = lambda rgb: rgb) -> list[Pixels]:
    return [change(draw(LIVE + number).pixels) for number in range(count)]


def darkened(rgb: Pixels) -> Pixels:
    return (rgb * 0.6).astype(np.uint8)


def photos_of_classes(wanted: set[int]) -> Iterator[Pixels]:
    seed = LIVE
    while True:
        photo = draw(seed)
        if set(photo.classes.tolist()) <= wanted:
            yield photo.pixels
        seed += 1


def test_photos_like_those_of_the_reference_raise_no_alarm(drift: DetectionDrift, detector: Detector) -> None:
    tags = watch(drift, detector, live(3 * WINDOW))
    assert [one["state"] for one in tags] == ["filling"] * (WINDOW - 1) + ["stable"] * (2 * WINDOW + 1)
    assert all(one["features"] == [] for one in tags)


def test_darkened_photos_alarm_within_one_window(drift: DetectionDrift, detector: Detector) -> None:
    tags = watch(drift, detector, live(WINDOW, darkened))
    assert tags[-1]["state"] == "drifted"
    assert "brightness" in tags[-1]["features"]


def test_other_classes_alarm_within_one_window(drift: DetectionDrift, detector: Detector) -> None:
    of_two = photos_of_classes({0, 1})
    tags = watch(drift, detector, [next(of_two) for _ in range(WINDOW)])
    assert "classes" in tags[-1]["features"]
    assert "brightness" not in tags[-1]["features"]


def test_alarm_ends_when_photos_are_as_before(drift: DetectionDrift, detector: Detector) -> None:
    tags = watch(drift, detector, [*live(WINDOW, darkened), *live(WINDOW)])
    assert [tags[place]["state"] for place in (WINDOW - 1, 2 * WINDOW - 2, 2 * WINDOW - 1)] == [
        "drifted",
        "drifted",
        "stable",
    ]


def test_metrics_tell_each_full_window_once(drift: DetectionDrift, detector: Detector) -> None:
    watch(drift, detector, live(WINDOW, darkened))
    told = checked_metrics(drift.metrics())
    values = {(one["key"], one["tags"]["feature"]): one["value"] for one in told}
    assert {feature for _, feature in values} == {"brightness", "classes", "counts", "scores", "sizes"}
    assert values["drift_alarm", "brightness"] == 1
    assert values["drift_divergence", "brightness"] > values["drift_threshold", "brightness"] > 0
    assert drift.metrics() == []


def test_without_pixels_all_but_the_brightness_is_watched(drift: DetectionDrift, detector: Detector) -> None:
    for rgb in live(WINDOW, darkened):
        record = wire.encode((rgb.shape[1], rgb.shape[0]), letterbox(rgb, detector.input))
        drift.transform_output(answer(detector, record))
    features = {one["tags"]["feature"] for one in drift.metrics()}
    assert features == {"classes", "counts", "scores", "sizes"}


def test_answers_of_another_model_are_told_and_not_counted(drift: DetectionDrift, detector: Detector) -> None:
    record = wire.encode((256, 192), letterbox(draw(0).pixels, detector.input))
    for _ in range(2 * WINDOW):
        message = answer(detector, record, digest="sha256:other")
        assert drift.transform_output(message) is message
        assert drift.tags() == {"drift": {"state": "mismatched", "features": []}}
    assert drift.metrics() == []


@pytest.mark.parametrize("message", [{"data": []}, b"x", np.zeros(2), {"detections": [1], "image": {}}])
def test_answer_that_cannot_be_read_goes_on_as_it_is_and_is_counted(drift: DetectionDrift, message: Any) -> None:
    assert drift.transform_output(message) is message
    assert drift.tags()["drift"]["state"] == "unread"
    assert drift.metrics() == [{"type": "COUNTER", "key": "drift_unread", "value": 1}]


@pytest.mark.parametrize("payload", [b"no record", {"url": "x"}, np.zeros((2, 2, 3)), "text"])
def test_request_that_is_no_record_goes_on_as_it_is_and_is_counted(drift: DetectionDrift, payload: Any) -> None:
    assert drift.transform_input(payload) is payload
    assert drift.metrics() == [{"type": "COUNTER", "key": "drift_unread", "value": 1}]


def test_microservice_keeps_the_record_on_the_fast_wire(drift: DetectionDrift, detector: Detector) -> None:
    identity = Identity("drift", "slipway/detection-drift:1", "birds", "main", "1")
    hooks = Hooks(component_of(drift), CustomMetrics(identity), identity)
    record = wire.encode((256, 192), letterbox(draw(0).pixels, detector.input))
    assert is_exact_in_proto(hooks.transform_input(Input(record, [], None)))
    reply = hooks.transform_output(Input(answer(detector, record), [], {"tags": {"mine": "kept"}}))
    assert reply.meta["tags"] == {"mine": "kept", "drift": {"state": "filling", "features": []}}


def test_file_says_what_was_built(reference: Reference, folder: Path) -> None:
    read = load_reference(folder)
    assert (read.labels, read.confidence, len(read.photos)) == (reference.labels, 0.05, PHOTOS)
    for one, other in zip(read.photos, reference.photos, strict=True):
        assert one.brightness == pytest.approx(other.brightness, abs=0.006)
        assert [found.label for found in one.detections] == [found.label for found in other.detections]
        for found, wanted in zip(one.detections, other.detections, strict=True):
            assert (found.confidence, found.side) == pytest.approx((wanted.confidence, wanted.side), abs=6e-5)
    assert (folder / REFERENCE_NAME).stat().st_size < 200 * PHOTOS
    assert Reference.to_json(read) == (folder / REFERENCE_NAME).read_text()


def test_reference_sees_what_the_detector_sees(reference: Reference, detector: Detector) -> None:
    for seed in (0, 17):
        rgb = draw(seed).pixels
        found = detector.detect(rgb, confidence=0.05)
        assert [one.label for one in reference.photos[seed].detections] == [one.label for one in found]
        level = float(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).mean())
        assert reference.photos[seed].brightness == pytest.approx(level, abs=1.0)


def test_brightness_leaves_the_grey_bars_out() -> None:
    white = np.full((50, 200, 3), 255, np.uint8)
    assert brightness(letterbox(white, Size(192, 192)), Size(200, 50)) == pytest.approx(255, abs=1.5)
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 100
    assert brightness(red, Size(64, 64)) == pytest.approx(29.9)


def test_side_is_of_the_part_within_the_photo(detector: Detector) -> None:
    box = {"x_min": -50.0, "y_min": 0.0, "x_max": 50.0, "y_max": 100.0}
    from model_wrappers.darknet.boxes import Box, Detection

    one = Detection("a", 0, 0.9, Box(**box))
    assert seen([one], Size(100, 100), above=0.5) == (Seen("a", 0.9, pytest.approx(0.5**0.5)),)  # type: ignore[arg-type]
    assert seen([one], Size(100, 100), above=0.9) == ()


class Blind:
    """A detector that finds nothing, and counts."""

    input, names = Size(32, 32), ("a",)

    def __init__(self) -> None:
        self.calls = 0

    def detect_letterboxed(self, *_: Any, **__: Any) -> list[Any]:
        self.calls += 1
        return []


def test_reference_takes_evenly_spaced_photos_of_many(tmp_path: Path) -> None:
    photo = tmp_path / "one.png"
    assert cv2.imwrite(str(photo), np.zeros((4, 4, 3), np.uint8))
    blind = Blind()
    assert len(build_reference(blind, [photo] * (MAX_PHOTOS + 500)).photos) == blind.calls == MAX_PHOTOS


def test_too_few_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DriftReferenceError, match="49 photos .* at least 50"):
        build_reference(Blind(), [tmp_path / "any.png"] * 49)


BROKEN = {
    "missing": (None, "is not there: register the model .* --drift-reference"),
    "no json": ("{", "is no drift reference: JSONDecodeError"),
    "format": ('{"format": 2}', "format 2, 1 is read here"),
    "few": ('{"format": 1, "confidence": 0.05, "labels": [], "photos": []}', "0 photos, 50 to 1000 are expected"),
    "list": ("[]", "is no drift reference: TypeError"),
    "labels": (
        json.dumps({"format": 1, "confidence": 0.05, "labels": ["a"] * 10_001, "photos": []}),
        "at most 10000 texts",
    ),
    "confidence": ('{"format": 1, "confidence": NaN, "labels": [], "photos": []}', "nan is not within 0..1"),
    "large": ("9" * ((16 << 20) + 1), "is larger than 16,777,216 bytes"),
}
BROKEN |= {
    name: (json.dumps({"format": 1, "confidence": 0.05, "labels": ["a"], "photos": [row] * 50}), text)
    for name, row, text in (
        ("dark", {"brightness": -1, "detections": []}, "brightness -1.0 is not within"),
        ("class", {"brightness": 1, "detections": [[4, 0.5, 0.5]]}, "class 4 is no place among 1 labels"),
        ("class from the end", {"brightness": 1, "detections": [[-1, 0.5, 0.5]]}, "class -1 is no place among"),
        ("share", {"brightness": 1, "detections": [[0, 1.5, 0.5]]}, "1.5 is not within 0..1"),
    )
}


@pytest.mark.parametrize("case", BROKEN)
def test_file_that_is_no_reference_is_refused(tmp_path: Path, case: str) -> None:
    text, message = BROKEN[case]
    if text is not None:
        (tmp_path / REFERENCE_NAME).write_text(text)
    with pytest.raises(DriftReferenceError, match=message):
        load_reference(tmp_path)


def test_confidence_below_the_references_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"confidence=0.01: the reference has detections above 0.05 only"):
        DetectionDrift(str(folder), confidence=0.01).load()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"window": 5}, "window=5 is not a whole number from 10"),
        ({"window": 50.5}, "window=50.5"),
        ({"false_alarm": 0.0}, "false_alarm=0.0 is not within"),
        ({"confidence": 1.0}, "confidence=1.0"),
    ],
)
def test_parameter_that_makes_no_sense_is_named(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DetectionDrift("/nowhere", **given)


def test_call_before_load_is_503() -> None:
    with pytest.raises(ComponentError) as refused:
        DetectionDrift("/nowhere").transform_output({})
    assert (refused.value.status_code, refused.value.reason) == (503, "MODEL_NOT_LOADED")


def test_metadata_names_the_reference(drift: DetectionDrift) -> None:
    metadata = read_metadata(component_of(drift), image="slipway/detection-drift:1", override="")
    check_metadata(metadata)
    assert metadata["custom"]["reference"] == "shapes"
    assert metadata["custom"]["digest"] == DIGEST


def test_v2_request_and_answer_pass_to_the_bit_and_the_tag_is_a_text(drift: DetectionDrift, detector: Detector) -> None:
    identity = Identity("drift", "slipway/detection-drift:1", "birds", "main", "1")
    hooks = Hooks(component_of(drift), CustomMetrics(identity), identity)

    def ask(hook: str, content: bytes, **parameters: str) -> Any:
        request = InferRequest((Tensor("output-0", "BYTES", objects([content], [1]), parameters),))
        return call_v2(hooks, hook, [request], raw=dict, is_proto=False, model=ServedModel(("drift",)))[0]

    record = wire.encode((256, 192), letterbox(draw(0).pixels, detector.input))
    passed = ask("transform_input", record)
    assert (passed.outputs[0].array[0], passed.parameters) == (record, {})
    message = answer(detector, record)
    found = ask("transform_output", json.dumps(message).encode(), content_type="json")
    assert json.loads(found.outputs[0].array[0]) == message
    assert json.loads(found.parameters["drift"]) == {"state": "filling", "features": []}
