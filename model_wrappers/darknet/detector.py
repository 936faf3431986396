"""A model folder as a detector: photo in, detections out."""

from __future__ import annotations

from pathlib import Path

from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.cpu import engine_threads
from model_wrappers.darknet.decode import decode
from model_wrappers.darknet.detections import to_detections
from model_wrappers.darknet.engines import AUTO
from model_wrappers.darknet.engines.choice import open_chosen
from model_wrappers.darknet.errors import InputError
from model_wrappers.darknet.folder import ModelFolder, load_model_folder
from model_wrappers.darknet.layers import Head
from model_wrappers.darknet.letterbox import Pixels, Size, check_pixels, letterbox
from model_wrappers.darknet.names import load_names
from model_wrappers.darknet.nms import Nms, check_nms
from model_wrappers.darknet.thresholds import check_share


class Detector:
    """One loaded model. Calls may come from several threads.

    Args:
        folder: a ``ModelFolder``, or the path of one.
        confidence: a class of a box counts above it (0 to 1).
        iou: NMS drops boxes that overlap a better one by more (0 to 1).
        nms: ``sort`` per class, or ``obj`` once over all classes.
        engine: ``auto``: the fastest of the folder's record that opens here; a name of ``engines.ENGINES``; or
            ``onnxruntime-int8``, where the folder has a graph in 8 bits.
        clip: corners end at the photo's border and boxes wholly outside are dropped; False gives them as computed.
        threads: of the engine; None is ``cpu.engine_threads()``.

    Attributes:
        engine, engine_version: what answers.
        input: the network's size in pixels.
        names: of the classes.
    """

    def __init__(
        self,
        folder: ModelFolder | Path,
        *,
        confidence: float = 0.25,
        iou: float = 0.45,
        nms: Nms = "sort",
        engine: str = AUTO,
        clip: bool = True,
        threads: int | None = None,
    ) -> None:
        self.confidence = check_share("confidence", confidence)
        self.iou = check_share("iou", iou)
        self.nms = check_nms(nms)
        self.clip = clip
        files = folder if isinstance(folder, ModelFolder) else load_model_folder(folder)
        network = load_network(files.cfg_path)
        self.input = Size(network.input.width, network.input.height)
        self.names = load_names(files.names_path, network.classes)
        self._heads: list[Head] = [layer.op for layer in network.heads if isinstance(layer.op, Head)]
        self._engine = open_chosen(engine, files, self.input, threads=threads or engine_threads())
        self.engine, self.engine_version = self._engine.name, self._engine.version

    def detect(self, rgb: Pixels, *, confidence: float | None = None, iou: float | None = None) -> list[Detection]:
        """uint8 [H, W, 3] RGB photo → detections in its pixels, most confident first; the thresholds for this call."""
        check_pixels(rgb)
        size = Size(rgb.shape[1], rgb.shape[0])
        return self.detect_letterboxed(letterbox(rgb, self.input), size, confidence=confidence, iou=iou)

    def detect_letterboxed(
        self, pixels: Pixels, photo: Size, *, confidence: float | None = None, iou: float | None = None
    ) -> list[Detection]:
        """Pixels that ``letterbox`` made for this network of a photo of size ``photo`` → as ``detect``."""
        check_pixels(pixels)
        found = Size(pixels.shape[1], pixels.shape[0])
        if found != self.input:
            raise InputError(f"the pixels are {found}, the network's input is {self.input}")
        outputs = [output[0] for output in self._engine.run(pixels[None])]
        candidates = decode(self._heads, outputs, self.input, self.confidence if confidence is None else confidence)
        return to_detections(
            candidates,
            names=self.names,
            photo=photo,
            net=self.input,
            iou=self.iou if iou is None else iou,
            nms=self.nms,
            clip=self.clip,
        )
