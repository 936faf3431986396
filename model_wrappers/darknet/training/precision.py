"""mAP of detections on a set of photos, by the library's own rule (VOC, every point, IoU 0.5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from model_wrappers.darknet.average_precision import Found, Truth, average_precisions, mean
from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.detector import Detector
from model_wrappers.darknet.training.photos import LabelledPhoto, PhotoSet

CONFIDENCE = 0.01  # mAP wants the doubtful boxes too


@dataclass(frozen=True)
class Precision:
    """``classes``: AP at IoU 0.5 by name, of the classes that occur; ``map50`` is their mean."""

    map50: float
    classes: dict[str, float]


def measure(pairs: Iterable[tuple[LabelledPhoto, Sequence[Detection]]], names: Sequence[str]) -> Precision:
    found = average_precisions([(Truth(photo.boxes, photo.classes), to_found(boxes)) for photo, boxes in pairs])
    return Precision(mean(found), {names[number]: value for number, value in found.items()})


def detector_precision(detector: Detector, photos: PhotoSet) -> Precision:
    """Of a finished model, through the engine that serves it. Set its confidence to ``CONFIDENCE``."""
    labelled = (photos.read(index) for index in range(len(photos)))
    return measure(((photo, detector.detect(photo.pixels)) for photo in labelled), photos.names)


def to_found(detections: Sequence[Detection]) -> Found:
    boxes = [[one.box.x_min, one.box.y_min, one.box.x_max, one.box.y_max] for one in detections]
    return Found(
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        classes=np.array([one.class_id for one in detections], dtype=np.int64),
        scores=np.array([one.confidence for one in detections], dtype=np.float64),
    )
