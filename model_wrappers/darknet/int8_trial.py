"""A model's graph in 8 bits, tried: calibrated on some labelled photos, its mAP compared with float32's on the others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.check import compile_onnx
from model_wrappers.darknet.detector import Detector
from model_wrappers.darknet.engines import DEFAULT_ENGINE, INT8_ENGINE
from model_wrappers.darknet.errors import ProofError
from model_wrappers.darknet.folder import INT8_NAME, ModelFolder
from model_wrappers.darknet.letterbox import Size, letterbox
from model_wrappers.darknet.names import load_names
from model_wrappers.darknet.timing import EngineTiming
from model_wrappers.darknet.training.photos import PhotoSet
from model_wrappers.darknet.training.precision import CONFIDENCE, measure

CALIBRATION_PHOTOS = 32  # the first of the set
MIN_MEASURED = 10  # of the rest; mAP of fewer says nothing
MAX_MEASURED = 500


@dataclass(frozen=True)
class Int8Trial:
    """What 8 bits cost on ``measured`` photos, in mAP at IoU 0.5 (0 to 1). ``graph`` is an ONNX file of its own.

    ``max_loss`` is the loss that somebody declared acceptable; None where nobody asked for 8 bits.
    """

    graph: bytes
    calibrated: int
    measured: int
    map_float32: float
    map_int8: float
    max_loss: float | None = None

    @property
    def loss(self) -> float:
        return self.map_float32 - self.map_int8

    @property
    def is_accepted(self) -> bool:
        """Whether ``engine: auto`` may choose it, where it is the fastest."""
        return self.max_loss is not None and self.loss <= self.max_loss

    def to_json(self) -> dict[str, float | None]:
        """All of it but the graph."""
        numbers = asdict(self)
        del numbers["graph"]
        return {**numbers, "loss": self.loss}

    def told(self, timing: EngineTiming) -> EngineTiming:
        """``timing`` with the loss, if it is of the graph in 8 bits."""
        if timing.engine != INT8_ENGINE:
            return timing
        return replace(timing, map_loss=self.loss, max_map_loss=self.max_loss)


def describe(trial: Int8Trial | None) -> str:
    """What a report says of 8 bits."""
    if trial is None:
        return "8 bits: not measured: no labelled photos were given."
    measured = f"8 bits: mAP {trial.map_int8:.4f}, float32 {trial.map_float32:.4f}, on {trial.measured} labelled photos"
    measured += f" (calibrated on {trial.calibrated} others): a loss of {trial.loss:.4f}"
    if trial.max_loss is None:
        return f"{measured}. auto does not choose it: nobody declared a loss acceptable."
    verdict = "auto chooses it where it is the fastest" if trial.is_accepted else "auto does not choose it"
    return f"{measured}; {trial.max_loss:g} was declared acceptable: {verdict}."


def try_int8(files: ModelFolder, photos: PhotoSet, *, threads: int, max_loss: float | None = None) -> Int8Trial:
    """Quantise, calibrated on the first photos, and measure both graphs on up to ``MAX_MEASURED`` of the rest.

    Raises:
        ProofError: too few photos, or of other classes. DataSetError: one cannot be read.
    """
    network = load_network(files.cfg_path)
    names = load_names(files.names_path, network.classes)
    if tuple(photos.names) != names:
        raise ProofError(f"labelled photos of {', '.join(photos.names)}: the model's classes are {', '.join(names)}")
    if len(photos) < CALIBRATION_PHOTOS + MIN_MEASURED:
        raise ProofError(
            f"{len(photos)} labelled photos: {CALIBRATION_PHOTOS} to calibrate 8 bits on and at least {MIN_MEASURED} "
            "others to measure mAP on are expected"
        )
    from model_wrappers.darknet.quantise import quantise  # with it comes onnx

    size = Size(network.input.width, network.input.height)
    calibration = [letterbox(photos.read(number).pixels, size) for number in range(CALIBRATION_PHOTOS)]
    graph = quantise(compile_onnx(files.cfg_path, files.weights_path), network, calibration)
    numbers = range(CALIBRATION_PHOTOS, min(len(photos), CALIBRATION_PHOTOS + MAX_MEASURED))
    with with_graph(files, graph) as both:
        map_float32, map_int8 = (
            _map50(Detector(both, confidence=CONFIDENCE, engine=engine, threads=threads), photos, numbers)
            for engine in (DEFAULT_ENGINE, INT8_ENGINE)
        )
    return Int8Trial(graph, len(calibration), len(numbers), map_float32, map_int8, max_loss)


def _map50(detector: Detector, photos: PhotoSet, numbers: Iterable[int]) -> float:
    labelled = (photos.read(number) for number in numbers)
    return measure(((photo, detector.detect(photo.pixels)) for photo in labelled), photos.names).map50


@contextmanager
def with_graph(files: ModelFolder, graph: bytes) -> Iterator[ModelFolder]:
    """``files`` with ``graph`` as the one in 8 bits, in a file that lives as long."""
    with tempfile.TemporaryDirectory(prefix="int8-") as folder:
        path = Path(folder) / INT8_NAME
        path.write_bytes(graph)
        yield replace(files, int8_path=path)
