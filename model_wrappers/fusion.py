"""A Seldon COMBINER that makes one answer of several detectors' answers."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from model_wrappers.darknet.boxes import Box, Detection
from model_wrappers.detection_message import DetectionMessage, parse_detections
from model_wrappers.errors import ComponentError
from model_wrappers.fusion_boxes import AVERAGE, CONFIDENCES, Boxes, fuse

PHOTOS_DIFFER = "PHOTOS_DIFFER"
WEIGHTS_MISMATCH = "WEIGHTS_MISMATCH"


class WeightedBoxFusion:
    """Weighted boxes fusion, per class: the classes of the detectors are told apart by their labels.

    The answer has a detector's form: ``detections``, most confident first, and ``image``; ``models`` says who answered, in the
    order of the children. A class that the detectors number differently gets its smallest number.

    Args:
        weights: one for each child, in their order, such as ``2,1``; equal ones unless given.
        iou_thr: boxes that overlap by more are one (0 to 1).
        skip_box_thr: boxes of a lower confidence are left out before (0 to 1).
        conf_type: ``avg``: a box that only some detectors found loses confidence; ``max``: it keeps the best one's.
    """

    def __init__(
        self, weights: str = "", iou_thr: float = 0.55, skip_box_thr: float = 0.0, conf_type: str = AVERAGE
    ) -> None:
        self.weights = _parse_weights(weights)
        for name, value in (("iou_thr", iou_thr), ("skip_box_thr", skip_box_thr)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value!r} is not within 0..1")
        if conf_type not in CONFIDENCES:
            raise ValueError(f"conf_type={conf_type!r} is not one of {', '.join(CONFIDENCES)}")
        self.iou_thr, self.skip_box_thr, self.conf_type = iou_thr, skip_box_thr, conf_type
        self._last = threading.local()  # metrics() follows aggregate() on the same thread

    def aggregate(self, features_list: Sequence[Any], names_list: Sequence[Any]) -> dict[str, Any]:
        """One answer of the children's answers.

        Raises:
            ComponentError: 502 for an answer that is no detector's, or of another photo; 500 for too few or many weights.
        """
        messages = [parse_detections(one, reader="WeightedBoxFusion") for one in features_list]
        weights = self._weights_of(messages)
        if len({message.image for message in messages}) > 1:
            sizes = ", ".join(str(message.image) for message in messages)
            raise ComponentError(f"The detectors answered photos of {sizes}.", reason=PHOTOS_DIFFER, status_code=502)
        self._last.agreed = Counter()
        fused = [one for label in _labels(messages) for one in self._fuse(label, messages, weights)]
        fused.sort(key=lambda one: (-one.confidence, one.label, one.box.x_min, one.box.y_min))
        image = messages[0].image
        return {
            "detections": [one.to_json() for one in fused],
            "image": {"width": image.width, "height": image.height},
            "models": [dict(message.model) for message in messages if message.model is not None],
        }

    def _weights_of(self, messages: Sequence[DetectionMessage]) -> tuple[float, ...]:
        weights = self.weights or (1.0,) * len(messages)
        if len(weights) != len(messages):
            sentence = f"The parameter weights has {len(weights)} numbers, the node has {len(messages)} children."
            raise ComponentError(sentence, reason=WEIGHTS_MISMATCH, status_code=500)
        return weights

    def _fuse(self, label: str, messages: Sequence[DetectionMessage], weights: Sequence[float]) -> Iterator[Detection]:
        found = [
            (place, one)
            for place, message in enumerate(messages)
            for one in message.detections
            if one.label == label and one.confidence >= self.skip_box_thr
        ]
        if not found:
            return
        boxes = Boxes(
            np.array([(one.box.x_min, one.box.y_min, one.box.x_max, one.box.y_max) for _, one in found], np.float64),
            np.array([one.confidence for _, one in found], np.float64),
            np.array([place for place, _ in found], np.intp),
        )
        fused = fuse(boxes, weights=weights, threshold=self.iou_thr, confidence=self.conf_type)
        self._last.agreed.update(fused.models.tolist())
        class_id = min(one.class_id for _, one in found)
        for corners, confidence in zip(fused.corners.tolist(), fused.confidence.tolist(), strict=True):
            yield Detection(label, class_id, confidence, Box(*corners))

    def metrics(self) -> list[dict[str, Any]]:
        """Fused boxes by how many detectors found each; told once."""
        agreed = self._last.__dict__.pop("agreed", {})
        return [
            {"type": "COUNTER", "key": "fusion_detections", "value": count, "tags": {"models": str(models)}}
            for models, count in sorted(agreed.items())
        ]

    def init_metadata(self) -> dict[str, Any]:
        """What comes in and goes out."""
        custom = {"iou_thr": str(self.iou_thr), "skip_box_thr": str(self.skip_box_thr), "conf_type": self.conf_type}
        return {
            "platform": "slipway",
            "inputs": [{"messagetype": "jsonData"}],
            "outputs": [{"messagetype": "jsonData"}],
            "custom": custom,
        }


def _labels(messages: Sequence[DetectionMessage]) -> list[str]:
    return sorted({one.label for message in messages for one in message.detections})


def _parse_weights(text: str) -> tuple[float, ...]:
    """``2,1`` → (2.0, 1.0); nothing for no text. A single number may come as one."""
    words = [word.strip() for word in str(text).split(",")] if str(text).strip() else []
    try:
        weights = tuple(map(float, words))
    except ValueError as exc:
        raise ValueError(f"weights={text!r}: numbers with commas between them are expected, e.g. 2,1") from exc
    if not all(0 < weight < math.inf for weight in weights):
        raise ValueError(f"weights={text!r}: each is above 0")
    return weights
