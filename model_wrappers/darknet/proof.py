"""What shows, before a model is registered, that it computes what its cfg and weights say.

Strict load; the compiled graph beside the plain forward pass, layer by layer; every installed engine, timed and compared;
the boxes in photos that people know. A model that fails is refused here, in the notebook.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model_wrappers.darknet import reference
from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.check import NetworkSummary, check
from model_wrappers.darknet.cpu import engine_threads, machine_name
from model_wrappers.darknet.detector import Detector
from model_wrappers.darknet.engines import INT8_ENGINE, installed_engines
from model_wrappers.darknet.engines.record import EngineRecord
from model_wrappers.darknet.errors import ProofError
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.int8_trial import Int8Trial, try_int8, with_graph
from model_wrappers.darknet.layers import Head, Shape
from model_wrappers.darknet.letterbox import Pixels, Size, letterbox
from model_wrappers.darknet.provenance import file_sha256
from model_wrappers.darknet.timing import TOLERANCE, EngineTiming, Floats, difference, fastest, time_engines
from model_wrappers.darknet.training.photos import PhotoSet
from model_wrappers.darknet.weights import load_weights

if TYPE_CHECKING:
    from model_wrappers.photo import PhotoFile

MAX_PHOTOS = 8
MAX_PICTURE_SIDE = 960  # of a drawn photo in the report, pixels
JPEG_QUALITY = 85
NOISE = "seeded noise"  # what the layers are compared on where no photo is given
LAYERS_NOTE = (
    "The layers are those of the compiled graph with every layer as an output. The graph that is saved and served returns the "
    "heads only, so that an engine may fuse the layers before them: what it computes is compared engine by engine."
)
_SEED = 0


@dataclass(frozen=True)
class LayerParity:
    """``difference``: max|a - b| / max|a| of the plain forward pass and the compiled graph."""

    index: int
    kind: str
    shape: Shape
    difference: float


@dataclass(frozen=True)
class GoldenPhoto:
    """What the model finds in one photo; ``picture`` is a JPEG with the boxes drawn."""

    name: str
    sha256: str
    size: Size
    detections: tuple[Detection, ...]
    picture: bytes


@dataclass(frozen=True)
class Proof:
    """``digests`` are SHA-256 by file name."""

    summary: NetworkSummary
    licence: str
    digests: dict[str, str]
    layers: tuple[LayerParity, ...]
    timings: tuple[EngineTiming, ...]
    threads: int
    machine: str
    photos: tuple[GoldenPhoto, ...]
    int8: Int8Trial | None = None

    @property
    def engine(self) -> str:
        """The fastest that may be chosen."""
        return fastest(self.timings).engine

    @property
    def compared_on(self) -> str:
        """What the layers and engines were given."""
        return self.photos[0].name if self.photos else NOISE

    @property
    def worst(self) -> LayerParity:
        return max(self.layers, key=lambda layer: layer.difference)

    def record(self, cfg: Path, weights: Path) -> EngineRecord:
        """What ``engine: auto`` reads of it."""
        return EngineRecord(
            self.digests[cfg.name], self.digests[weights.name], self.machine, self.threads, self.timings
        )

    def to_json(self) -> dict[str, Any]:
        """All of it but the pictures."""
        document = asdict(self)
        document["engine"], document["compared_on"] = self.engine, self.compared_on
        document["worst_difference"] = self.worst.difference
        document["tolerance"] = TOLERANCE
        document["layers_note"] = LAYERS_NOTE
        document["int8"] = self.int8.to_json() if self.int8 else None
        document["photos"] = [
            {
                "name": photo.name,
                "sha256": photo.sha256,
                "image": photo.size._asdict(),
                "detections": [one.to_json() for one in photo.detections],
            }
            for photo in self.photos
        ]
        return document


def prove(
    cfg: Path,
    weights: Path,
    names: Path,
    *,
    photos: Sequence[Path] = (),
    licence: str = "",
    threads: int | None = None,
    engines: Sequence[str] | None = None,
    labelled: PhotoSet | None = None,
    int8_max_loss: float | None = None,
) -> Proof:
    """Check, compare, time and look.

    With ``labelled`` photos a graph in 8 bits is timed beside the engines and its loss of mAP measured. ``engine: auto`` may
    choose it where ``int8_max_loss`` (of mAP, 0 to 1) declares as much loss acceptable.

    Raises:
        CfgError, WeightsError, NamesError: the files do not belong together. PhotoError, OSError: one is no photo.
        ProofError: too many photos, or a layer differs by more than ``timing.TOLERANCE``. EngineError: no engine is within it.
    """
    _check_request(len(photos), labelled, int8_max_loss)
    summary, files = check(cfg, weights, names), ModelFolder(cfg, weights, names)
    digests = _digests(files)
    size, used = Size(summary.width, summary.height), threads or engine_threads()
    opened = [_open(path, size) for path in photos]
    pixels = opened[0].letterboxed if opened else _noise(size)
    layers, heads = compare_layers(files, pixels)
    trial = try_int8(files, labelled, threads=used, max_loss=int8_max_loss) if labelled else None
    timings, found = _time_and_look(files, pixels, heads, opened, engines=engines, threads=used, trial=trial)
    return Proof(summary, licence, digests, layers, timings, used, machine_name(), found, int8=trial)


def _time_and_look(
    files: ModelFolder,
    pixels: Pixels,
    heads: Sequence[Floats],
    photos: Sequence[_OpenedPhoto],
    *,
    engines: Sequence[str] | None,
    threads: int,
    trial: Int8Trial | None,
) -> tuple[tuple[EngineTiming, ...], tuple[GoldenPhoto, ...]]:
    """Time the engines, with the graph in 8 bits beside them if there is one, and find boxes with the fastest."""
    with with_graph(files, trial.graph) if trial else nullcontext(files) as timed:
        chosen = [*(installed_engines() if engines is None else engines), *([INT8_ENGINE] if trial else [])]
        timings = time_engines(timed, pixels, heads, threads=threads, names=chosen)
        timings = tuple(trial.told(timing) for timing in timings) if trial else timings
        detector = Detector(timed, engine=fastest(timings).engine, threads=threads)
        return timings, tuple(_golden(one, detector) for one in photos)


def _check_request(photos: int, labelled: PhotoSet | None, int8_max_loss: float | None) -> None:
    if photos > MAX_PHOTOS:
        raise ProofError(f"{photos} photos: a proof shows at most {MAX_PHOTOS}")
    if int8_max_loss is not None and labelled is None:
        raise ProofError(f"int8_max_loss={int8_max_loss:g}: a loss is measured on labelled photos, and none were given")


def _digests(files: ModelFolder) -> dict[str, str]:
    """SHA-256 by file name."""
    paths = (files.cfg_path, files.weights_path, files.names_path)
    digests = {path.name: file_sha256(path) for path in paths}
    if len(digests) < len(paths):
        raise ProofError(
            f"{', '.join(map(str, paths))}: two have one name, by which a proof tells them apart: rename one"
        )
    return digests


def compare_layers(files: ModelFolder, pixels: Pixels) -> tuple[tuple[LayerParity, ...], list[Floats]]:
    """Every layer of the compiled graph beside the plain forward pass, and that pass's raw heads."""
    from model_wrappers.darknet.compiler import compile_network
    from model_wrappers.darknet.engines.onnx_runtime import open_graph

    network = load_network(files.cfg_path)
    weights = load_weights(files.weights_path, network)
    expected = reference.run(network, weights, pixels)
    graph = compile_network(network, weights, outputs=range(len(network.layers)))
    found = open_graph(graph, threads=engine_threads()).run(pixels[None])
    layers = tuple(
        LayerParity(layer.index, layer.kind, layer.shape, difference([a], [b[0]]))
        for layer, a, b in zip(network.layers, expected, found, strict=True)
    )
    for layer in layers:
        if not layer.difference <= TOLERANCE:
            raise ProofError(
                f"{network.path}: layer {layer.index} [{layer.kind}]: the compiled graph differs from Darknet's "
                f"computation by {layer.difference:.1e} of its largest value: at most {TOLERANCE:g} is allowed"
            )
    heads = [output for layer, output in zip(network.layers, expected, strict=True) if isinstance(layer.op, Head)]
    return layers, heads


def _noise(size: Size) -> Pixels:
    return np.random.default_rng(_SEED).integers(0, 256, (size.height, size.width, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class _OpenedPhoto:
    """A photo that can be decoded. It is kept encoded: eight of 50 megapixels are a gigabyte as pixels."""

    file: PhotoFile
    size: Size
    letterboxed: Pixels


def _open(path: Path, net: Size) -> _OpenedPhoto:
    from model_wrappers import photo  # with it comes the image library

    file = photo.read(path)
    rgb = file.decode()
    return _OpenedPhoto(file, Size(rgb.shape[1], rgb.shape[0]), letterbox(rgb, net))


def _golden(opened: _OpenedPhoto, detector: Detector) -> GoldenPhoto:
    from model_wrappers.darknet.draw import draw_jpeg

    detections = tuple(detector.detect_letterboxed(opened.letterboxed, opened.size))
    picture = draw_jpeg(opened.file.decode(), detections, max_side=MAX_PICTURE_SIDE, quality=JPEG_QUALITY)
    return GoldenPhoto(opened.file.path.name, opened.file.sha256, opened.size, detections, picture)


def render_json(proof: Proof) -> str:
    """The text of ``proof.json``."""
    return json.dumps(proof.to_json(), indent=1) + "\n"
