"""A Seldon component that finds objects in photos with a Darknet model folder."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_wrappers import wire
from model_wrappers.darknet import Detection, Detector, Size
from model_wrappers.errors import ComponentError
from model_wrappers.model_identity import ModelIdentity, load_identity

Pixels = npt.NDArray[np.uint8]

FILE_SCHEME = "file://"
MAX_ARRAY_SIDE = 8192  # of a photo that arrives as an array
BOXES = ("clipped", "raw")
_SIZE = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", re.ASCII)


class YoloDetector:
    """Detections of a photo: one dict with ``detections``, ``image`` and ``model``, most confident first.

    Args:
        model_uri: folder of the model (cfg, weights, names, perhaps the ONNX graph), as a path or ``file://``.
        confidence: a class counts above it (0 to 1).
        iou: NMS drops boxes that overlap a better one by more (0 to 1).
        nms: ``sort`` (per class) or ``obj`` (over all classes).
        engine: what runs the network, ``onnxruntime``.
        input: ``WIDTHxHEIGHT`` that the graph was set up for; another one than the cfg's refuses every request.
        boxes: ``clipped`` to the photo, or ``raw`` as computed.
    """

    def __init__(
        self,
        model_uri: str = "/mnt/models",
        confidence: float = 0.25,
        iou: float = 0.45,
        nms: str = "sort",
        engine: str = "onnxruntime",
        input: str | None = None,  # noqa: A002  - the parameter's name in the SeldonDeployment
        boxes: str = "clipped",
    ) -> None:
        self.folder = Path(model_uri.removeprefix(FILE_SCHEME))
        self.confidence, self.iou, self.nms, self.engine = confidence, iou, nms, engine
        self.input = _parse_size(input) if input else None
        if boxes not in BOXES:
            raise ValueError(f"boxes={boxes!r} is not one of {', '.join(BOXES)}")
        self.boxes = boxes
        self.detector: Detector | None = None
        self.identity: ModelIdentity | None = None
        self._last = threading.local()  # metrics() follows predict() on the same thread

    @property
    def provenance(self) -> dict[str, str] | None:
        """``{name, version, digest, uri}`` of the loaded model, None before ``load``."""
        return self.identity.to_json() if self.identity else None

    def load(self) -> None:
        """Read and check the model. Raises the Darknet library's errors, which name file, expected and found."""
        self.identity = load_identity(self.folder)
        self.detector = Detector(
            self.folder,
            confidence=self.confidence,
            iou=self.iou,
            nms=self.nms,  # type: ignore[arg-type]  # the detector refuses other texts
            engine=self.engine,
            clip=self.boxes == "clipped",
        )

    def predict(
        self,
        X: Any,
        names: Sequence[str] | None = None,  # noqa: ARG002  - the contract's signature
        meta: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """``X``: a wire record, an encoded photo, or an array [H, W, 3] of RGB levels 0 to 255.

        Raises:
            ComponentError: with ``status_code`` and ``reason``: ``INPUT_SIZE_MISMATCH``, ``WIRE_RECORD_INVALID``,
                ``IMAGE_*``, ``UNSUPPORTED_INPUT``.
        """
        if self.detector is None or self.identity is None:
            raise ComponentError("the model is not loaded yet", reason="MODEL_NOT_LOADED", status_code=503)
        self._check_input(self.detector)
        started = time.perf_counter()
        size, detections = _detect(self.detector, X)
        self._last.labels = Counter(detection.label for detection in detections)
        self._last.milliseconds = (time.perf_counter() - started) * 1000
        return {
            "detections": [detection.to_json() for detection in detections],
            "image": {"width": size.width, "height": size.height},
            "model": {"name": self.identity.name, "version": self.identity.version, "digest": self.identity.digest},
        }

    def metrics(self) -> list[dict[str, Any]]:
        """Time of the last prediction of this thread, and its detections per class."""
        if not hasattr(self._last, "labels"):
            return []
        timer = {"type": "TIMER", "key": "yolo_detect_ms", "value": self._last.milliseconds}
        counters = (
            {"type": "COUNTER", "key": "yolo_detections", "value": count, "tags": {"label": label}}
            for label, count in sorted(self._last.labels.items())
        )
        return [timer, *counters]

    def init_metadata(self) -> dict[str, Any]:
        """Name and version of the model; what comes in and goes out."""
        identity = self.identity or load_identity(self.folder)
        return {
            "name": identity.name,
            "versions": [identity.version or identity.digest],
            "platform": "darknet",
            "inputs": [{"messagetype": "binData"}],
            "outputs": [{"messagetype": "jsonData"}],
            "custom": {"digest": identity.digest, "uri": identity.uri},
        }

    def _check_input(self, detector: Detector) -> None:
        if self.input is not None and self.input != detector.input:
            raise _mismatch(f"parameter input={self.input}", detector)


def _detect(detector: Detector, X: Any) -> tuple[wire.PhotoSize, list[Detection]]:
    if isinstance(X, bytes | bytearray | memoryview):
        if wire.is_record(X):
            return _detect_record(detector, X)
        from model_wrappers import photo  # a detector behind a transformer never decodes photos

        rgb = photo.decode(bytes(X))
    elif isinstance(X, np.ndarray):
        rgb = _rgb(X)
    else:
        raise ComponentError(
            f"a photo is expected as bytes or as an array [height, width, 3], found {type(X).__name__}",
            reason="UNSUPPORTED_INPUT",
        )
    return wire.PhotoSize(rgb.shape[1], rgb.shape[0]), detector.detect(rgb)


def _detect_record(
    detector: Detector, record: bytes | bytearray | memoryview
) -> tuple[wire.PhotoSize, list[Detection]]:
    size, pixels = wire.decode(record)
    found = Size(pixels.shape[1], pixels.shape[0])
    if found != detector.input:
        raise _mismatch(f"the record's {found} pixels", detector)
    return size, detector.detect_letterboxed(pixels, Size(*size))


def _rgb(array: npt.NDArray[Any]) -> Pixels:
    """An array of the contract (any number type) as a photo; one leading axis of length 1 is dropped."""
    photo = array[0] if array.ndim == 4 and array.shape[0] == 1 else array
    if photo.ndim != 3 or photo.shape[2] != 3 or not 0 < min(photo.shape[:2]) <= max(photo.shape[:2]) <= MAX_ARRAY_SIDE:
        raise ComponentError(
            f"an array [height, width, 3] with 1 to {MAX_ARRAY_SIDE} a side is expected, found {list(array.shape)}",
            reason="UNSUPPORTED_INPUT",
        )
    if photo.dtype == np.uint8:
        return np.ascontiguousarray(photo)
    if photo.dtype.kind not in "iuf" or not ((photo >= 0) & (photo <= 255)).all():
        raise ComponentError(f"RGB levels from 0 to 255 are expected, found {photo.dtype}", reason="UNSUPPORTED_INPUT")
    levels: Pixels = np.rint(photo).astype(np.uint8)
    return levels


def _mismatch(what: str, detector: Detector) -> ComponentError:
    return ComponentError(
        f"{what} and the network's input of {detector.input} differ: set the transformer's input to {detector.input}",
        reason="INPUT_SIZE_MISMATCH",
    )


def _parse_size(text: str) -> Size:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"input={text!r}: WIDTHxHEIGHT is expected, for example 416x416")
    return Size(int(match[1]), int(match[2]))
