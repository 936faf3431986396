"""A folder with ``detector.yaml`` as a detector: the same calls and detections as a Darknet model's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.cpu import engine_threads
from model_wrappers.darknet.detections import to_detections
from model_wrappers.darknet.engines.onnx_runtime import open_session
from model_wrappers.darknet.errors import InputError
from model_wrappers.darknet.letterbox import Pixels, Size, check_pixels, letterbox
from model_wrappers.darknet.names import load_names
from model_wrappers.darknet.nms import Nms
from model_wrappers.exported.decode import decode
from model_wrappers.exported.layout import LAYOUT_NAME, Layout, LayoutError, Picture, load_layout

_TYPES: dict[str, type[np.generic]] = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


class ExportedDetector:
    """One loaded graph on ONNX Runtime. Calls may come from several threads. Settings as in ``darknet.Detector``."""

    engine = "onnxruntime"

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
        for name, value in (("confidence", confidence), ("iou", iou)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value}: a number from 0 to 1 is expected")
        self.confidence, self.iou, self.clip = confidence, iou, clip
        self.nms: Nms = nms
        self._layout = load_layout(folder)
        self._path = folder / LAYOUT_NAME
        self.names = load_names(self._layout.names)
        self._session = open_session(self._layout.graph, threads=threads or engine_threads())
        self.input, self._type = _input_of(self._layout, self._session, self._path)
        self._outputs = [output.name for output in self._session.get_outputs()]
        grey = np.full((self.input.height, self.input.width, 3), 128, np.uint8)
        self.detect_letterboxed(grey, self.input)  # the first run allocates, and shows whether the layout fits

    def detect(self, rgb: Pixels) -> list[Detection]:
        """uint8 [H, W, 3] RGB photo → detections in its pixels, most confident first."""
        check_pixels(rgb)
        return self.detect_letterboxed(letterbox(rgb, self.input), Size(rgb.shape[1], rgb.shape[0]))

    def detect_letterboxed(self, pixels: Pixels, photo: Size) -> list[Detection]:
        """Pixels that ``letterbox`` made for this graph of a photo of size ``photo`` → as ``detect``."""
        check_pixels(pixels)
        found = Size(pixels.shape[1], pixels.shape[0])
        if found != self.input:
            raise InputError(f"the pixels are {found}, the graph's input is {self.input}")
        tensor = to_tensor(pixels, self._layout.picture, self._type)
        values = self._session.run(self._outputs, {self._session.get_inputs()[0].name: tensor})
        outputs = dict(zip(self._outputs, values, strict=True))
        try:
            candidates = decode(self._layout, outputs, self.input, len(self.names), self.confidence)
        except ValueError as exc:
            raise LayoutError(self._path, f"{self._layout.graph.name} {exc}") from exc
        return to_detections(
            candidates, names=self.names, photo=photo, net=self.input, iou=self.iou, nms=self.nms, clip=self.clip
        )


def to_tensor(pixels: Pixels, picture: Picture, kind: type[np.generic]) -> npt.NDArray[np.generic]:
    """uint8 [H, W, 3] RGB → the graph's one input."""
    channels = pixels[..., ::-1] if picture.order == "bgr" else pixels
    if kind is np.uint8:  # the graph scales inside
        values: npt.NDArray[np.generic] = channels
    else:
        mean, std = np.array(picture.mean, np.float32), np.array(picture.std, np.float32)
        values = (channels.astype(np.float32) / np.float32(picture.scale) - mean) / std
    planes = values.transpose(2, 0, 1) if picture.layout == "nchw" else values
    return np.ascontiguousarray(planes[None])


def _input_of(layout: Layout, session: onnxruntime.InferenceSession, path: Path) -> tuple[Size, type[np.generic]]:
    """Size and type of the graph's one input, which must be a batch of pictures in the stated order of axes."""
    inputs = session.get_inputs()
    shape, kind = list(inputs[0].shape), _TYPES.get(inputs[0].type)
    if len(inputs) != 1 or len(shape) != 4 or kind is None:
        found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise LayoutError(
            path, f"{layout.graph.name} takes {found}: one tensor of pictures, float or uint8, is expected"
        )
    channels, sides = (shape[1], shape[2:]) if layout.picture.layout == "nchw" else (shape[3], shape[1:3])
    size = Size(*layout.picture.size) if layout.picture.size else None
    if channels not in (3, None) and not isinstance(channels, str):
        raise LayoutError(path, f"input.layout: {layout.picture.layout} means {channels} channels of {shape}, not 3")
    if all(isinstance(side, int) for side in sides):
        stated = Size(sides[1], sides[0])
        if size not in (None, stated):
            raise LayoutError(path, f"input.size: {size}, but {layout.graph.name} takes {stated}")
        return stated, kind
    if size is None:
        raise LayoutError(
            path, f"input.size: {layout.graph.name} leaves its size open ({shape}): WIDTHxHEIGHT is needed"
        )
    return size, kind
