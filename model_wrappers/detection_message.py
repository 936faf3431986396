"""What a detector answers → typed detections, for the components behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_wrappers.darknet.boxes import Box, Detection
from model_wrappers.darknet.letterbox import Size
from model_wrappers.errors import ComponentError
from model_wrappers.wire import MAX_PHOTO_SIDE

MISSING, INVALID = "DETECTIONS_MISSING", "DETECTIONS_INVALID"
MAX_DETECTIONS = 10_000  # of one message
SIDES = ("x_min", "y_min", "x_max", "y_max")


@dataclass(frozen=True)
class DetectionMessage:
    """The reply of a ``YoloDetector`` (its ``predict`` says the form). ``model`` is ``{name, version, digest}``."""

    detections: tuple[Detection, ...]
    image: Size
    model: Mapping[str, Any] | None


def parse_detections(X: Any, *, reader: str) -> DetectionMessage:
    """From ``jsonData``; ``reader`` is the component that error sentences name.

    Raises:
        ComponentError: 502 ``DETECTIONS_MISSING`` or ``DETECTIONS_INVALID``: the node before is no detector.
    """
    if not isinstance(X, Mapping) or not isinstance(rows := X.get("detections"), list):
        found = "the tutorial's format" if isinstance(X, Mapping) and "uid" in X else type(X).__name__
        sentence = f"{reader} needs a detector's answer (jsonData.detections), found {found}."
        raise ComponentError(f"{sentence} TutorialResponse belongs above {reader}.", reason=MISSING, status_code=502)
    model = X.get("model")
    try:
        _check_count(rows)
        image = _image(X["image"])
        return DetectionMessage(tuple(map(_detection, rows)), image, model if isinstance(model, Mapping) else None)
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        sentence = f"{reader} cannot read the detections before it: {type(exc).__name__}: {exc}"
        raise ComponentError(sentence[:500], reason=INVALID, status_code=502) from exc


def _check_count(rows: list[Any]) -> None:
    if len(rows) > MAX_DETECTIONS:
        raise ValueError(f"{len(rows)} of them, at most {MAX_DETECTIONS} are read")


def _image(image: Mapping[str, Any]) -> Size:
    size = Size(int(image["width"]), int(image["height"]))
    if not 1 <= min(size) <= max(size) <= MAX_PHOTO_SIDE:
        raise ValueError(f"the photo is {size}: 1 to {MAX_PHOTO_SIDE} pixels a side are possible")
    return size


def _detection(row: Mapping[str, Any]) -> Detection:
    confidence = float(row["confidence"])
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence {confidence} is not within 0..1")
    box = Box(*(float(row["box"][side]) for side in SIDES))
    if not all(map(math.isfinite, (box.x_min, box.y_min, box.x_max, box.y_max))):
        raise ValueError(f"box {row['box']} has a corner that is no number")
    if box.x_max < box.x_min or box.y_max < box.y_min:
        raise ValueError(f"box {row['box']} ends before it begins")
    return Detection(str(row["label"]), int(row["class_id"]), confidence, box)
