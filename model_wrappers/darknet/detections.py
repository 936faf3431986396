"""Candidates of any network to detections in the photo: back through the letterbox, NMS, clipping, names."""

from __future__ import annotations

from collections.abc import Sequence

from model_wrappers.darknet.boxes import Box, Detection, to_corners, to_photo
from model_wrappers.darknet.candidates import Candidates
from model_wrappers.darknet.letterbox import Size
from model_wrappers.darknet.nms import Nms, suppress


def to_detections(
    candidates: Candidates, *, names: Sequence[str], photo: Size, net: Size, iou: float, nms: Nms, clip: bool
) -> list[Detection]:
    """Most confident first; with ``clip`` corners end at the photo's border and boxes wholly outside are dropped."""
    candidates = candidates._replace(centres=to_photo(candidates.centres, photo, net))
    kept = suppress(candidates, threshold=iou, kind=nms)
    corners = to_corners(candidates.centres[kept.box], photo, clip=clip)
    rows = zip(kept.class_id.tolist(), kept.confidence.tolist(), corners.tolist(), strict=True)
    detections = [Detection(names[class_id], class_id, score, Box(*box)) for class_id, score, box in rows]
    return [one for one in detections if not clip or _has_area(one.box)]


def _has_area(box: Box) -> bool:
    return box.x_max > box.x_min and box.y_max > box.y_min
