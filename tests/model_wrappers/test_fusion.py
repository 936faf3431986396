"""Weighted boxes fusion: beside the authors' own program, by hand, and by its properties."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from model_wrappers.darknet.boxes import iou
from model_wrappers.errors import ComponentError
from model_wrappers.fusion import WeightedBoxFusion
from model_wrappers.fusion_boxes import Boxes, fuse
from model_wrappers.tutorial_response import TutorialResponse, tutorial_reply
from slipway.microservice.component import component_of
from slipway.microservice.custom_metrics import checked_metrics
from slipway.microservice.metadata import read_metadata

CASES = json.loads((Path(__file__).parent / "fusion" / "ensemble_boxes.json").read_text())["cases"]
WIDTH, HEIGHT = 640, 480


def boxes_of(models: list[list[dict[str, Any]]], label: int, *, at_least: float = 0.0) -> Boxes:
    rows = [
        (place, row)
        for place, model in enumerate(models)
        for row in model
        if row["label"] == label and row["score"] >= at_least
    ]
    return Boxes(
        np.array([row["corners"] for _, row in rows], float).reshape(-1, 4),
        np.array([row["score"] for _, row in rows], float),
        np.array([place for place, _ in rows], int),
    )


@pytest.mark.parametrize("number", range(len(CASES)))
def test_boxes_are_those_of_the_authors_program(number: int) -> None:
    """Its corners are float32; its score may pass 1 where weights differ, which ours does not."""
    case = CASES[number]
    for label in range(3):
        boxes = boxes_of(case["models"], label, at_least=case["skip_box_thr"])
        found = fuse(boxes, weights=case["weights"], threshold=case["iou_thr"], confidence=case["conf_type"])
        wanted = [row for row in case["fused"] if row["label"] == label]
        assert len(found.confidence) == len(wanted)
        order = np.lexsort((*found.corners.T[::-1], -found.confidence))
        for place, row in zip(order, wanted, strict=True):
            assert found.confidence[place] == pytest.approx(min(row["score"], 1.0), abs=2e-6)
            assert found.corners[place] == pytest.approx(row["corners"], abs=2e-6)


def test_cases_cover_both_confidences_and_boxes_that_merge() -> None:
    assert {case["conf_type"] for case in CASES} == {"avg", "max"}
    assert {len(case["models"]) for case in CASES} == {1, 2, 3, 4}
    before = sum(len(model) for case in CASES for model in case["models"])
    assert sum(len(case["fused"]) for case in CASES) < before * 0.75


def test_two_boxes_by_hand() -> None:
    """c = 0.8 and 0.4: corners (0.8 a + 0.4 b) / 1.2; confidence (0.8 + 0.4) / 2."""
    boxes = Boxes(np.array([[0, 0, 10, 10], [1, 1, 11, 10.0]]), np.array([0.8, 0.4]), np.array([0, 1]))
    found = fuse(boxes, weights=(1, 1), threshold=0.55)
    assert found.corners.tolist() == [pytest.approx([1 / 3, 1 / 3, 31 / 3, 10])]
    assert found.confidence.tolist() == [pytest.approx(0.6)]
    assert found.models.tolist() == [2]


def test_box_of_one_of_two_models_keeps_half_of_its_confidence_or_all() -> None:
    boxes = Boxes(np.array([[0, 0, 10, 10.0]]), np.array([0.8]), np.array([1]))
    assert fuse(boxes, weights=(1, 1), threshold=0.55).confidence.tolist() == [0.4]
    assert fuse(boxes, weights=(1, 1), threshold=0.55, confidence="max").confidence.tolist() == [0.8]
    assert fuse(boxes, weights=(1, 3), threshold=0.55).confidence.tolist() == [pytest.approx(0.6)]


def test_weights_pull_the_corners_to_the_heavier_model() -> None:
    boxes = Boxes(np.array([[0, 0, 10, 10], [2, 0, 12, 10.0]]), np.array([0.5, 0.5]), np.array([0, 1]))
    assert fuse(boxes, weights=(3, 1), threshold=0.5).corners.tolist() == [pytest.approx([0.5, 0, 10.5, 10])]


def test_confidence_stays_at_one_where_a_heavy_model_repeats_itself() -> None:
    boxes = Boxes(np.array([[0, 0, 10, 10], [0, 0, 10, 10.0]]), np.array([1.0, 1.0]), np.array([0, 0]))
    assert fuse(boxes, weights=(3, 1), threshold=0.5).confidence.tolist() == [1.0]


def test_nothing_found_is_nothing_fused() -> None:
    none = fuse(Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)), weights=(1,), threshold=0.5)
    assert (none.corners.shape, none.confidence.shape, none.models.shape) == ((0, 4), (0,), (0,))


@st.composite
def detections(draw: st.DrawFn, *, labels: str = "ab") -> list[dict[str, Any]]:
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        x, y = draw(st.integers(0, 500)), draw(st.integers(0, 400))
        rows.append(
            {
                "label": draw(st.sampled_from(labels)),
                "class_id": 0,
                "confidence": draw(st.integers(1, 100)) / 100,
                "box": {
                    "x_min": x,
                    "y_min": y,
                    "x_max": x + draw(st.integers(1, 139)),
                    "y_max": y + draw(st.integers(1, 79)),
                },
            }
        )
    return rows


def message(rows: list[dict[str, Any]], version: str = "1") -> dict[str, Any]:
    model = {"name": "shapes", "version": version, "digest": "sha256:1"}
    return {"detections": rows, "image": {"width": WIDTH, "height": HEIGHT}, "model": model}


def corners(row: dict[str, Any]) -> list[float]:
    return [row["box"][side] for side in ("x_min", "y_min", "x_max", "y_max")]


def overlap(one: dict[str, Any], other: dict[str, Any]) -> float:
    def centred(row: dict[str, Any]) -> np.ndarray[Any, Any]:
        a, b, c, d = corners(row)
        return np.array([(a + c) / 2, (b + d) / 2, c - a, d - b])

    return float(iou(centred(one), centred(other)))


MODELS = st.lists(detections(), min_size=1, max_size=4)


@given(models=MODELS, order=st.randoms(use_true_random=False), kind=st.sampled_from(["avg", "max"]))
def test_order_of_models_with_equal_weights_changes_nothing(models: list[Any], order: Any, kind: str) -> None:
    fusion = WeightedBoxFusion(conf_type=kind)
    shuffled = order.sample(models, len(models))
    found = [fusion.aggregate(list(map(message, some)), [])["detections"] for some in (models, shuffled)]
    assert found[0] == found[1]


@given(rows=detections(), skip=st.sampled_from([0.0, 0.3]), kind=st.sampled_from(["avg", "max"]))
def test_one_model_without_overlaps_is_left_as_it_is(rows: list[Any], skip: float, kind: str) -> None:
    apart: list[Any] = []
    for row in rows:
        if all(row["label"] != other["label"] or overlap(row, other) <= 0.55 for other in apart):
            apart.append(row)
    answer = WeightedBoxFusion(skip_box_thr=skip, conf_type=kind).aggregate([message(apart)], [])["detections"]
    wanted = [row for row in apart if row["confidence"] >= skip]
    key = lambda row: (row["label"], corners(row))  # noqa: E731
    assert sorted(answer, key=key) == sorted(wanted, key=key)


@given(
    models=MODELS, weights=st.lists(st.floats(0.1, 10), min_size=4, max_size=4), kind=st.sampled_from(["avg", "max"])
)
def test_scores_stay_within_0_to_1_and_boxes_within_their_members(
    models: list[Any], weights: list[float], kind: str
) -> None:
    text = ",".join(map(str, weights[: len(models)]))
    answer = WeightedBoxFusion(weights=text, conf_type=kind).aggregate(list(map(message, models)), [])["detections"]
    assert [row["confidence"] for row in answer] == sorted((row["confidence"] for row in answer), reverse=True)
    for row in answer:
        assert 0 <= row["confidence"] <= 1
        members = [corners(one) for model in models for one in model if one["label"] == row["label"]]
        low, high = np.min(members, axis=0), np.max(members, axis=0)
        assert all(low - 0.01 <= corners(row))
        assert all(corners(row) <= high + 0.01)


@given(models=MODELS)
def test_model_beside_its_own_copy_keeps_its_answer(models: list[Any]) -> None:
    rows = models[0]
    assume(not any(overlap(a, b) > 0 for a in rows for b in rows if a is not b and a["label"] == b["label"]))
    fusion = WeightedBoxFusion()
    assert (
        fusion.aggregate([message(rows)] * 2, [])["detections"] == fusion.aggregate([message(rows)], [])["detections"]
    )


def test_answer_has_a_detectors_form_and_tells_the_models() -> None:
    row = {
        "label": "ring",
        "class_id": 3,
        "confidence": 0.9,
        "box": {"x_min": 1.0, "y_min": 2.0, "x_max": 30.0, "y_max": 40.0},
    }
    other = {**row, "class_id": 1, "confidence": 0.5}
    answer = WeightedBoxFusion().aggregate([message([row]), message([other], "2")], [[], []])
    assert answer == {
        "detections": [{**row, "class_id": 1, "confidence": 0.7}],
        "image": {"width": WIDTH, "height": HEIGHT},
        "models": [message([], version)["model"] for version in ("1", "2")],
    }
    assert tutorial_reply({"jsonData": answer})["data"] == [["ring", 0.7, [15.5, 21.0, 29.0, 38.0]]]
    assert TutorialResponse().transform_output_raw({"jsonData": answer})["success"] == "true"


def test_metrics_count_boxes_by_how_many_models_agree() -> None:
    row = {
        "label": "ring",
        "class_id": 3,
        "confidence": 0.9,
        "box": {"x_min": 1.0, "y_min": 2.0, "x_max": 30.0, "y_max": 40.0},
    }
    far = {**row, "box": {"x_min": 100.0, "y_min": 2.0, "x_max": 130.0, "y_max": 40.0}}
    fusion = WeightedBoxFusion()
    fusion.aggregate([message([row, far]), message([row])], [])
    assert checked_metrics(fusion.metrics()) == [
        {"type": "COUNTER", "key": "fusion_detections", "value": 1, "tags": {"models": "1"}},
        {"type": "COUNTER", "key": "fusion_detections", "value": 1, "tags": {"models": "2"}},
    ]
    assert fusion.metrics() == []


BROKEN: dict[str, tuple[Any, str, str]] = {
    "tutorial": ({"data": [], "uid": "1", "success": "true"}, "DETECTIONS_MISSING", "the tutorial's format"),
    "bytes": (b"photo", "DETECTIONS_MISSING", "found bytes"),
    "no image": ({"detections": []}, "DETECTIONS_INVALID", "KeyError: 'image'"),
    "flat": ({"detections": [], "image": {"width": 0, "height": 5}}, "DETECTIONS_INVALID", "the photo is 0x5"),
    "endless": (
        {"detections": [], "image": {"width": 1e308, "height": 5}},
        "DETECTIONS_INVALID",
        "ValueError: the photo is 1",
    ),
    "row": ({**message([]), "detections": [1]}, "DETECTIONS_INVALID", "TypeError"),
    "many": ({**message([]), "detections": [1] * 10_001}, "DETECTIONS_INVALID", "at most 10000 are read"),
}
ROW = {"label": "a", "class_id": 0, "confidence": 0.5, "box": {"x_min": 0.0, "y_min": 0.0, "x_max": 1.0, "y_max": 1.0}}
BAD_ROWS: dict[str, dict[str, Any]] = {
    "confidence": {**ROW, "confidence": 1.5},
    "nan": {**ROW, "confidence": math.nan},
    "infinite": {**ROW, "box": {**ROW["box"], "x_max": math.inf}},  # type: ignore[dict-item]
    "backwards": {**ROW, "box": {**ROW["box"], "x_max": -1}},  # type: ignore[dict-item]
    "no label": {key: value for key, value in ROW.items() if key != "label"},
}
BROKEN |= {
    name: (message([row]), "DETECTIONS_INVALID", "WeightedBoxFusion cannot read") for name, row in BAD_ROWS.items()
}


@pytest.mark.parametrize("case", BROKEN)
def test_answer_that_is_no_detectors_is_refused(case: str) -> None:
    answer, reason, text = BROKEN[case]
    with pytest.raises(ComponentError, match=text) as refused:
        WeightedBoxFusion().aggregate([message([]), answer], [])
    assert (refused.value.status_code, refused.value.reason) == (502, reason)


def test_photos_of_two_sizes_are_refused() -> None:
    with pytest.raises(ComponentError, match="640x480, 1x1") as refused:
        WeightedBoxFusion().aggregate([message([]), {**message([]), "image": {"width": 1, "height": 1}}], [])
    assert refused.value.reason == "PHOTOS_DIFFER"


def test_weights_of_another_number_of_children_are_refused() -> None:
    with pytest.raises(ComponentError, match="weights has 3 numbers, the node has 1 children") as refused:
        WeightedBoxFusion(weights="1, 2,3").aggregate([message([])], [])
    assert (refused.value.status_code, refused.value.reason) == (500, "WEIGHTS_MISMATCH")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"weights": "1,x"}, "weights='1,x': numbers with commas"),
        ({"weights": "1,0"}, "weights='1,0': each is above 0"),
        ({"weights": "nan"}, "each is above 0"),
        ({"iou_thr": 1.2}, "iou_thr=1.2 is not within"),
        ({"skip_box_thr": -1}, "skip_box_thr=-1"),
        ({"conf_type": "median"}, "conf_type='median' is not one of avg, max"),
    ],
)
def test_parameter_that_makes_no_sense_is_named(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        WeightedBoxFusion(**given)


def test_metadata_is_valid() -> None:
    metadata = read_metadata(component_of(WeightedBoxFusion()), image="slipway/box-fusion:1", override="")
    assert metadata["custom"] == {"iou_thr": "0.55", "skip_box_thr": "0.0", "conf_type": "avg"}
