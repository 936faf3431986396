"""Debian's ``libdarknet.so`` in a child process: the original program as an engine, and as the measure of ours.

libdarknet ends its process on a file that it cannot read and trusts every number in one, so it never runs in ours. What
it would silently compute differently (AlexeyAB's layers and activations) is refused here by name.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.engines import libdarknet_child
from model_wrappers.darknet.engines.child_pipe import ChildPipe, Floats
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.layers import Convolutional, Network, Route, Shortcut
from model_wrappers.darknet.provenance import file_sha256
from model_wrappers.darknet.sections import load_cfg_text
from model_wrappers.environment import CONTAINER_VARIABLE, passed

LIBRARY_VARIABLE = "LIBDARKNET"  # another place of the library
LIBRARY_PATH = Path("/usr/lib/darknet/libdarknet.so")
REPLY_TIMEOUT_S = 180.0  # yolov3-608 on one busy core takes about 30 s
ACTIVATIONS = frozenset({"leaky", "linear", "relu", "logistic"})  # pjreddie's; any other name becomes ReLU there

PASSED_VARIABLES = ("PATH", CONTAINER_VARIABLE)
_DIGEST_DIGITS = 12
_SHELL_SAFE = re.compile(r"[A-Za-z0-9._/+=,@-]{1,200}")  # its buffer for the command has 256 bytes
_BATCH = re.compile(r"^[ \t]*(batch|subdivisions)[ \t]*=.*$", re.MULTILINE)


class DarknetBox(NamedTuple):
    """One class of one box as Darknet gives it: centre and sides in pixels of the photo."""

    class_id: int
    confidence: float
    x: float
    y: float
    width: float
    height: float


def library_path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where libdarknet.so is, or None."""
    path = Path(environ.get(LIBRARY_VARIABLE) or LIBRARY_PATH)
    return path if path.is_file() else None


def misread(network: Network) -> str:
    """What pjreddie's Darknet would compute differently from its cfg; empty if nothing."""
    for layer in network.layers:
        match layer.op:
            case Convolutional(activation=name) | Shortcut(activation=name) if name not in ACTIVATIONS:
                return f"layer {layer.index} [{layer.kind}]: activation={name} (it takes any unknown name for relu)"
            case Convolutional(size=1, stride=stride, padding=0) if stride > 1:
                return f"layer {layer.index} [convolutional]: stride={stride} of size=1 (its CPU code drops the stride)"
            case Route(groups=groups) if groups > 1:
                return f"layer {layer.index} [route]: groups={groups} (it ignores the key)"
    return ""


class DarknetProcess:
    """A network in libdarknet. One call at a time; a child that ends, is late or talks nonsense is an ``EngineError``.

    After one of these it is closed, and its child is gone. Its files are gone as soon as it has loaded them.
    """

    def __init__(self, cfg: Path, weights: Path, *, threads: int, timeout_s: float = REPLY_TIMEOUT_S) -> None:
        library = library_path()
        if library is None:
            raise EngineError(f"engine 'darknet' is not installed: no {LIBRARY_PATH} (apt-get install darknet)")
        self.network = load_network(cfg)
        problem = misread(self.network)
        if problem:
            raise EngineError(f"{cfg}: engine 'darknet' cannot run it: {problem}")
        self.version = f"libdarknet {file_sha256(library)[:_DIGEST_DIGITS]}"  # the library does not say which it is
        with tempfile.TemporaryDirectory(prefix="libdarknet-") as folder, ExitStack() as stack:
            one_by_one = Path(folder) / "network.cfg"
            one_by_one.write_text(_BATCH.sub(r"\1=1", load_cfg_text(cfg)))  # else memory for a training batch
            files = str(library), str(one_by_one), str(weights.resolve())
            self._pipe = ChildPipe(
                "libdarknet",
                [sys.executable, "-I", libdarknet_child.__file__, *files],
                env={"OMP_NUM_THREADS": str(threads), **passed(PASSED_VARIABLES)},
                cwd=Path(folder),  # gone once it has loaded: it would write bad.list there, of photos it cannot decode
                timeout_s=timeout_s,
            )
            stack.callback(self._pipe.close)
            self._check_size(cfg)
            self._finalizer = weakref.finalize(self, stack.pop_all().close)

    def _check_size(self, cfg: Path) -> None:
        answer, _ = self._pipe.ask({"do": "size"})
        expected = [self.network.input.width, self.network.input.height]
        if answer.get("size") != expected:
            raise EngineError(f"{cfg}: libdarknet read an input of {answer.get('size')}, not {expected}")

    def layers(self, planes: Floats, indices: Sequence[int]) -> list[Floats]:
        """Float32 [3, H, W] in 0..1 → the outputs [channels, rows, columns] of these layers."""
        channels, height, width = self.network.input
        if planes.shape != (channels, height, width) or planes.dtype != np.float32:
            raise EngineError(
                f"float32 [{channels}, {height}, {width}] is expected, found {planes.dtype} {planes.shape}"
            )
        values = np.ascontiguousarray(planes, "<f4").tobytes()
        _, arrays = self._ask({"do": "layers", "indices": list(indices)}, values)
        expected = [self.network.layers[index].shape for index in indices]
        if [array.shape for array in arrays] != expected:
            raise EngineError(f"layers {list(indices)}: libdarknet gives {[a.shape for a in arrays]}, not {expected}")
        return arrays

    def letterbox(self, photo: Path) -> tuple[Floats, Floats]:
        """The photo as Darknet decodes it [3, h, w], and scaled into the network's input [3, H, W]; 0..1."""
        _, arrays = self._ask({"do": "letterbox", "photo": _shell_safe(photo)})
        if len(arrays) != 2:
            raise EngineError(f"{photo}: libdarknet gives {len(arrays)} pictures, not two")
        return arrays[0], arrays[1]

    def detect(
        self, photo: Path, *, confidence: float = 0.25, iou: float = 0.45, nms: str = "sort"
    ) -> list[DarknetBox]:
        """Photo to boxes by Darknet alone: its decoder, letterbox, network, decode and NMS."""
        settings = {"confidence": confidence, "iou": iou, "nms": nms, "classes": self.network.classes}
        answer, _ = self._ask({"do": "detect", "photo": _shell_safe(photo), **settings})
        try:
            return [DarknetBox(*box) for box in answer["boxes"]]
        except (KeyError, TypeError) as exc:
            raise EngineError(f"{photo}: libdarknet's answer has no boxes: {exc!r}") from exc

    @property
    def is_closed(self) -> bool:
        return not self._finalizer.alive

    def close(self) -> None:
        """End the child."""
        self._pipe.close()  # first: it fails the question that another thread may be waiting for
        self._finalizer()

    def _ask(self, request: dict[str, Any], values: bytes = b"") -> tuple[dict[str, Any], list[Floats]]:
        try:
            return self._pipe.ask(request, values)
        except EngineError:
            self.close()
            raise


def _shell_safe(photo: Path) -> str:
    """The path, if libdarknet may see it: it writes the name of a photo that it cannot decode through a shell, unquoted."""
    path = str(photo.resolve())
    if not _SHELL_SAFE.fullmatch(path):
        raise EngineError(
            f"{path}: libdarknet takes paths of at most 200 letters, digits and . _ - + = , @ / characters"
        )
    return path


class LibDarknetEngine:
    """See ``Engine``: the tensors before each head, which Darknet copies before it applies the logistics.

    A child that ended fails the call that it ended in; the next call starts another one.
    """

    name = "darknet"

    def __init__(self, start: Callable[[], DarknetProcess]) -> None:
        self._start, self._process = start, start()
        self._starting = threading.Lock()
        self._sources = [layer.inputs[0] for layer in self._process.network.heads]
        self.version = self._process.version

    def run(self, images: npt.NDArray[np.uint8]) -> list[Floats]:
        process = self._running()
        rows = [process.layers(to_planes(image), self._sources) for image in images]
        return [np.stack(outputs) for outputs in zip(*rows, strict=True)]

    def _running(self) -> DarknetProcess:
        with self._starting:
            if self._process.is_closed:
                self._process = self._start()
            return self._process


def to_planes(pixels: npt.NDArray[np.uint8]) -> Floats:
    """uint8 [H, W, 3] → float32 [3, H, W] in 0..1: the tensor that Darknet's ``network_predict`` takes."""
    planes: Floats = np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
    return planes


def open_files(files: ModelFolder, *, threads: int) -> LibDarknetEngine:
    """Start the child and load the pair. Raises ``EngineError`` where libdarknet is missing or cannot read it."""
    return LibDarknetEngine(partial(DarknetProcess, files.cfg_path, files.weights_path, threads=threads))
