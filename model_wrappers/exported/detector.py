"""A folder with ``detector.yaml`` as a detector: the same calls and detections as a Darknet model's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.cfg import MAX_CLASSES, MAX_INPUT_SIDE
from model_wrappers.darknet.cpu import engine_threads
from model_wrappers.darknet.detections import to_detections
from model_wrappers.darknet.engines.onnx_runtime import open_session
from model_wrappers.darknet.errors import EngineError, InputError
from model_wrappers.darknet.letterbox import Pixels, Size, check_pixels, letterbox
from model_wrappers.darknet.names import load_names
from model_wrappers.darknet.nms import Nms, check_nms
from model_wrappers.darknet.thresholds import check_share
from model_wrappers.exported.decode import check_boxes, decode
from model_wrappers.exported.layout import LAYOUT_NAME, Layout, LayoutError, Picture, load_layout

_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


class ExportedDetector:
    """One loaded graph on ONNX Runtime. Calls may come from several threads. Settings as in ``darknet.Detector``."""

    engine = "onnxruntime"
    engine_version = str(onnxruntime.__version__)

    def __init__(
        self,
        folder: Path,
        *,
        confidence: float = 0.25,
        iou: float = 0.45,
        nms: Nms = "sort",
        clip: bool = True,
        threads: int | None = None,
    ) -> None:
        self.confidence, self.iou = check_share("confidence", confidence), check_share("iou", iou)
        self.nms, self.clip = check_nms(nms), clip
        self._layout = load_layout(folder)
        self._path = folder / LAYOUT_NAME
        self.names = _names(self._layout)
        self._session = open_session(self._layout.graph, threads=threads or engine_threads())
        self.input, self._type = _input_of(self._layout, self._session, self._path)
        self._outputs = [output.name for output in self._session.get_outputs()]
        grey = np.full((self.input.height, self.input.width, 3), 128, np.uint8)
        self._check(grey)

    def _check(self, grey: Pixels) -> None:
        """The first run allocates, and shows whether the layout fits."""
        self.detect_letterboxed(grey, self.input)
        try:
            check_boxes(self._layout, self._run(grey))
        except ValueError as exc:
            raise LayoutError(self._path, f"{self._layout.graph.name} {exc}") from exc

    def detect(self, rgb: Pixels, *, confidence: float | None = None, iou: float | None = None) -> list[Detection]:
        """uint8 [H, W, 3] RGB photo → detections in its pixels, most confident first; the thresholds for this call."""
        check_pixels(rgb)
        size = Size(rgb.shape[1], rgb.shape[0])
        return self.detect_letterboxed(letterbox(rgb, self.input), size, confidence=confidence, iou=iou)

    def detect_letterboxed(
        self, pixels: Pixels, photo: Size, *, confidence: float | None = None, iou: float | None = None
    ) -> list[Detection]:
        """Pixels that ``letterbox`` made for this graph of a photo of size ``photo`` → as ``detect``.

        Raises:
            LayoutError: the graph's outputs are not those of the layout. EngineError: ONNX Runtime fails on it.
        """
        check_pixels(pixels)
        found = Size(pixels.shape[1], pixels.shape[0])
        if found != self.input:
            raise InputError(f"the pixels are {found}, the graph's input is {self.input}")
        outputs = self._run(pixels)
        least = self.confidence if confidence is None else confidence
        try:
            candidates = decode(self._layout, outputs, self.input, len(self.names), least)
        except ValueError as exc:
            raise LayoutError(self._path, f"{self._layout.graph.name} {exc}") from exc
        return to_detections(
            candidates,
            names=self.names,
            photo=photo,
            net=self.input,
            iou=self.iou if iou is None else iou,
            nms=self.nms,
            clip=self.clip,
        )

    def _run(self, pixels: Pixels) -> dict[str, object]:
        tensor = to_tensor(pixels, self._layout.picture, self._type)
        try:
            values: list[object] = self._session.run(self._outputs, {self._session.get_inputs()[0].name: tensor})
        except Exception as exc:  # ONNX Runtime raises a class per status code, all directly below Exception
            raise EngineError(f"{self._layout.graph}: ONNX Runtime fails on a photo: {exc}") from exc
        return dict(zip(self._outputs, values, strict=True))


def to_tensor(pixels: Pixels, picture: Picture, kind: type[np.generic]) -> npt.NDArray[np.generic]:
    """uint8 [H, W, 3] RGB → the graph's one input."""
    channels = pixels[..., ::-1] if picture.order == "bgr" else pixels
    if kind is np.uint8:  # the graph scales inside
        values: npt.NDArray[np.generic] = channels
    else:
        mean, std = np.array(picture.mean, np.float32), np.array(picture.std, np.float32)
        values = ((channels.astype(np.float32) / np.float32(picture.scale) - mean) / std).astype(kind, copy=False)
    planes = values.transpose(2, 0, 1) if picture.layout == "nchw" else values
    return np.ascontiguousarray(planes[None])


def _names(layout: Layout) -> tuple[str, ...]:
    names = load_names(layout.names)
    if len(names) > MAX_CLASSES:
        raise LayoutError(layout.names, f"has {len(names)} names: at most {MAX_CLASSES} are possible")
    return names


def _input_of(layout: Layout, session: onnxruntime.InferenceSession, path: Path) -> tuple[Size, type[np.generic]]:
    """Size and type of the graph's one input, which must be one picture in the stated order of axes."""
    inputs, name = session.get_inputs(), layout.graph.name
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    kind = _TYPES.get(inputs[0].type) if len(shape) == 4 else None
    if kind is None:
        found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs) or "nothing"
        raise LayoutError(path, f"{name} takes {found}: one tensor of pictures, float, float16 or uint8, is expected")
    channels, sides = (shape[1], shape[2:]) if layout.picture.layout == "nchw" else (shape[3], shape[1:3])
    if isinstance(shape[0], int) and shape[0] != 1:
        raise LayoutError(
            path, f"{name} takes {shape[0]} pictures at a time: a graph for one, or any number, is expected"
        )
    if isinstance(channels, int) and channels != 3:
        raise LayoutError(path, f"input.layout: {layout.picture.layout} means {channels} channels of {shape}, not 3")
    plain = Picture()
    levels = layout.picture.scale, layout.picture.mean, layout.picture.std
    if kind is np.uint8 and levels != (plain.scale, plain.mean, plain.std):
        raise LayoutError(path, f"input.scale: {name} takes uint8, which is neither scaled nor shifted by mean and std")
    return _size_of(layout, sides, path), kind


def _size_of(layout: Layout, sides: Sequence[object], path: Path) -> Size:
    """What the graph says of each side, else what the layout does."""
    stated = [side for side in sides if isinstance(side, int)]
    size = Size(*layout.picture.size) if layout.picture.size else None
    if len(stated) < 2 and size is None:
        raise LayoutError(
            path, f"input.size: {layout.graph.name} leaves its size open ({list(sides)}): WIDTHxHEIGHT is needed"
        )
    size = size or Size(stated[1], stated[0])
    for found, wanted in zip((size.height, size.width), sides, strict=True):
        if isinstance(wanted, int) and found != wanted:
            raise LayoutError(path, f"input.size: {size}, but {layout.graph.name} takes {sides[1]}x{sides[0]}")
    if max(size) > MAX_INPUT_SIDE or min(size) < 1:
        raise LayoutError(path, f"input.size: {size}: sides of 1 to {MAX_INPUT_SIDE} are possible")
    return size
