"""A Seldon component for detectors of other families, exported to ONNX and described by ``detector.yaml``."""

from __future__ import annotations

from model_wrappers.exported import ExportedDetector
from model_wrappers.exported.layout import load_layout
from model_wrappers.yolo_detector import YoloDetector


class OnnxDetector(YoloDetector):
    """The parameters and reply of ``YoloDetector``, for a folder that must hold a ``detector.yaml``.

    ``YoloDetector`` serves such folders too: a swap to another family changes only ``modelUri``. This class is for
    deployments that never serve a Darknet model and want a missing ``detector.yaml`` to be named.
    """

    def _open(self) -> ExportedDetector:
        load_layout(self.folder)
        if self.engine not in ("auto", "onnxruntime"):
            raise ValueError(f"engine={self.engine!r}: exported graphs run on onnxruntime")
        opened = super()._open()
        assert isinstance(opened, ExportedDetector)  # noqa: S101  - load_layout found the file
        return opened
