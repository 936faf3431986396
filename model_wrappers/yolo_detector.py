"""A Seldon component that finds objects in photos with a Darknet model folder, or one with a ``detector.yaml``."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_wrappers import wire
from model_wrappers.darknet import Detector, Size
from model_wrappers.darknet.letterbox import parse_size
from model_wrappers.errors import ComponentError
from model_wrappers.exported import ExportedDetector
from model_wrappers.exported.layout import LAYOUT_NAME
from model_wrappers.image_transformer import ImageTransformer
from model_wrappers.model_identity import ModelIdentity, load_identity

FILE_SCHEME = "file://"
MODEL_URI_VARIABLE = "MLSERVER_MODEL_URI"
DEFAULT_FOLDER = "/mnt/models"
BOXES = ("clipped", "raw")


class YoloDetector:
    """Detections of a photo: one dict with ``detections``, ``image`` and ``model``, most confident first.

    Args:
        model_uri: folder of the model (cfg, weights, names, perhaps the ONNX graph), as a path or ``file://``; else
            MLSERVER_MODEL_URI, which the controller sets beside a ``modelUri``, else ``/mnt/models``.
        confidence: a class counts above it (0 to 1).
        iou: NMS drops boxes that overlap a better one by more (0 to 1).
        nms: ``sort`` (per class) or ``obj`` (over all classes).
        engine: what runs the network: ``onnxruntime``, ``openvino``, ``opencv``, ``darknet``, ``onnxruntime-int8`` (of a
            model with a graph in 8 bits), or ``auto``: the fastest that the model's record of engines names and that
            opens here; onnxruntime without a record. The metadata's ``custom.engine`` says which it is.
        input: ``WIDTHxHEIGHT`` that the graph was set up for; another one than the cfg's refuses every request.
        boxes: ``clipped`` to the photo, or ``raw`` as computed.
    """

    def __init__(
        self,
        model_uri: str | None = None,
        confidence: float = 0.25,
        iou: float = 0.45,
        nms: str = "sort",
        engine: str = "auto",
        input: str | None = None,  # noqa: A002  - the parameter's name in the SeldonDeployment
        boxes: str = "clipped",
    ) -> None:
        uri = model_uri or os.environ.get(MODEL_URI_VARIABLE, DEFAULT_FOLDER)
        self.folder = Path(uri.removeprefix(FILE_SCHEME))
        self.confidence, self.iou, self.nms, self.engine = confidence, iou, nms, engine
        self.input = parse_size("input", input) if input else None
        if boxes not in BOXES:
            raise ValueError(f"boxes={boxes!r} is not one of {', '.join(BOXES)}")
        self.boxes = boxes
        self.detector: Detector | ExportedDetector | None = None
        self.identity: ModelIdentity | None = None
        self._transformer: ImageTransformer | None = None
        self._starting = threading.Lock()
        self._last = threading.local()  # metrics() follows predict() on the same thread

    @property
    def provenance(self) -> dict[str, str] | None:
        """``{name, version, digest, uri}`` of the loaded model, None before ``load``."""
        return self.identity.to_json() if self.identity else None

    def load(self) -> None:
        """Read and check the model. Raises the Darknet library's errors, which name file, expected and found."""
        self.identity = load_identity(self.folder)
        self.detector = self._open()

    def _open(self) -> Detector | ExportedDetector:
        thresholds: dict[str, Any] = {"confidence": self.confidence, "iou": self.iou, "nms": self.nms}
        clip = self.boxes == "clipped"
        if (self.folder / LAYOUT_NAME).is_file():  # another family behind the same manifest
            return ExportedDetector(self.folder, **thresholds, clip=clip)
        return Detector(self.folder, **thresholds, engine=self.engine, clip=clip)

    def close(self) -> None:
        """End the decoder processes, if a photo ever came; no call may be under way."""
        if self._transformer is not None:
            self._transformer.close()

    def predict(
        self,
        X: Any,
        names: Sequence[str] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """``X``: a wire record, or what ``ImageTransformer`` takes: an encoded photo, an array [H, W, 3] of RGB levels.

        Raises:
            ComponentError: with ``status_code`` and ``reason``: ``INPUT_SIZE_MISMATCH``, ``WIRE_RECORD_INVALID``, and those
                of ``ImageTransformer``.
        """
        if self.detector is None or self.identity is None:
            raise ComponentError("the model is not loaded yet", reason="MODEL_NOT_LOADED", status_code=503)
        self._check_input(self.detector)
        started = time.perf_counter()
        size, pixels = wire.decode(self._record(X, self.detector.input))
        found = Size(pixels.shape[1], pixels.shape[0])
        if found != self.detector.input:
            raise _mismatch(f"the record's {found} pixels", self.detector)
        detections = self.detector.detect_letterboxed(pixels, Size(*size))
        self._last.labels = Counter(detection.label for detection in detections)
        self._last.milliseconds = (time.perf_counter() - started) * 1000
        return {
            "detections": [detection.to_json() for detection in detections],
            "image": {"width": size.width, "height": size.height},
            "model": {"name": self.identity.name, "version": self.identity.version, "digest": self.identity.digest},
        }

    def metrics(self) -> list[dict[str, Any]]:
        """Time of this thread's last prediction, and its detections per class; told once."""
        last = self._last.__dict__
        if "labels" not in last:
            return []
        timer = {"type": "TIMER", "key": "yolo_detect_ms", "value": last.pop("milliseconds")}
        counters = (
            {"type": "COUNTER", "key": "yolo_detections", "value": count, "tags": {"label": label}}
            for label, count in sorted(last.pop("labels").items())
        )
        return [timer, *counters]

    @property
    def platform(self) -> str:
        return "onnx" if (self.folder / LAYOUT_NAME).is_file() else "darknet"

    def init_metadata(self) -> dict[str, Any]:
        """Name and version of the model; what comes in and goes out."""
        identity = self.identity or load_identity(self.folder)
        return {
            "name": identity.name,
            "versions": [identity.version or identity.digest],
            "platform": self.platform,
            "inputs": [{"messagetype": "binData"}],
            "outputs": [{"messagetype": "jsonData"}],
            "custom": {"digest": identity.digest, "uri": identity.uri, **self._engine()},
        }

    def _engine(self) -> dict[str, str]:
        """What answers, once it is loaded."""
        if self.detector is None:
            return {}
        return {"engine": self.detector.engine, "engine_version": self.detector.engine_version}

    def _record(self, X: Any, size: Size) -> bytes | bytearray | memoryview:
        """``X`` itself, or what a transformer in front would have made of it."""
        if isinstance(X, bytes | bytearray | memoryview) and wire.is_record(X):
            return X
        with self._starting:  # behind a transformer no photo comes here: its decoder processes start with the first one
            if self._transformer is None:
                self._transformer = ImageTransformer(input=str(size))
                self._transformer.load()
        return self._transformer.transform_input(X)

    def _check_input(self, detector: Detector | ExportedDetector) -> None:
        if self.input is not None and self.input != detector.input:
            raise _mismatch(f"parameter input={self.input}", detector)


def _mismatch(what: str, detector: Detector | ExportedDetector) -> ComponentError:
    return ComponentError(
        f"{what} and the network's input of {detector.input} differ: set the transformer's input to {detector.input}",
        reason="INPUT_SIZE_MISMATCH",
    )
