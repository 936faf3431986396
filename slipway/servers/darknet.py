"""DARKNET_SERVER: a Darknet model folder, or an exported detector, behind nothing but its ``modelUri``.

The component is ``YoloDetector``: photos as bytes or arrays, and what ``ImageTransformer`` makes of them. Its parameters
(``confidence``, ``iou``, ``nms``, ``engine``, ``input``, ``boxes``) are those of the node.
"""

from __future__ import annotations

from typing import Any

from model_wrappers.yolo_detector import YoloDetector
from slipway.servers.folder import ModelFolder


class DarknetServer(YoloDetector):
    """A ``YoloDetector`` whose folder may say of itself what ``/metadata`` answers."""

    def load(self) -> None:
        ModelFolder(self.folder).metadata()  # one that cannot be read stops the start, not the first question
        super().load()

    def init_metadata(self) -> dict[str, Any]:
        """``metadata.yaml`` of the folder where there is one; what of it is unsaid comes from the model."""
        return {**super().init_metadata(), **(ModelFolder(self.folder).metadata() or {})}
