"""A Seldon OUTPUT_TRANSFORMER that answers as the tutorials' own server does."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from model_wrappers.errors import ComponentError


class TutorialResponse:
    """``{"data": [["bird", 0.94, [cx, cy, w, h]], …], "uid": "<32 hex>", "success": "true"}``, most probable first.

    Boxes are centre x, centre y, width and height in pixels of the photo, not clipped to it: give the detector
    ``boxes=raw``.
    """

    def transform_output_raw(self, msg: Any) -> Any:
        """``msg``: the detector's SeldonMessage, as a mapping (REST: answered bare) or as protobuf (gRPC: in jsonData)."""
        if isinstance(msg, Mapping):
            return tutorial_reply(msg)
        from google.protobuf import json_format

        return json_format.ParseDict({"jsonData": tutorial_reply(json_format.MessageToDict(msg))}, type(msg)())


def tutorial_reply(message: Mapping[str, Any]) -> dict[str, Any]:
    """From a SeldonMessage with ``jsonData.detections``; ComponentError 502 for any other."""
    found = message.get("jsonData")
    if not isinstance(found, Mapping) or not isinstance(found.get("detections"), list):
        sentence = "The node before TutorialResponse answered no detections: put a detector there."
        raise ComponentError(sentence, reason="DETECTIONS_MISSING", status_code=502)
    rows = [[item["label"], item["confidence"], _centred(item["box"])] for item in found["detections"]]
    rows.sort(key=lambda row: -row[1])
    return {"data": rows, "uid": uuid.uuid4().hex, "success": "true"}


def _centred(box: Mapping[str, float]) -> list[float]:
    width, height = box["x_max"] - box["x_min"], box["y_max"] - box["y_min"]
    return [box["x_min"] + width / 2, box["y_min"] + height / 2, width, height]
