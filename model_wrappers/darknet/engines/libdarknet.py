"""Debian's ``libdarknet.so`` in a child process: the original program as an engine, and as the measure of ours.

libdarknet ends its process on a file that it cannot read and trusts every number in one, so it never runs in ours. What
it would silently compute differently (AlexeyAB's layers and activations) is refused here by name.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.engines import libdarknet_child
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.layers import Convolutional, Network, Route, Shortcut
from model_wrappers.darknet.sections import load_cfg_text

Floats = npt.NDArray[np.float32]

LIBRARY_VARIABLE = "LIBDARKNET"  # another place of the library
LIBRARY_PATH = Path("/usr/lib/darknet/libdarknet.so")
REPLY_TIMEOUT_S = 180.0  # yolov3-608 on one busy core takes about 30 s
MAX_ANSWER_BYTES = 1 << 30
MAX_LINE_BYTES = 1 << 20
STDERR_TAIL_BYTES = 300
ACTIVATIONS = frozenset({"leaky", "linear", "relu", "logistic"})  # pjreddie's; any other name becomes ReLU there

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
    """A network in libdarknet. One call at a time; a child that ends, or is late, is an ``EngineError``."""

    def __init__(self, cfg: Path, weights: Path, *, threads: int, timeout_s: float = REPLY_TIMEOUT_S) -> None:
        library = library_path()
        if library is None:
            raise EngineError(f"engine 'darknet' is not installed: no {LIBRARY_PATH} (apt-get install darknet)")
        self.network = load_network(cfg)
        problem = misread(self.network)
        if problem:
            raise EngineError(f"{cfg}: engine 'darknet' cannot run it: {problem}")
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        folder = tempfile.mkdtemp(prefix="libdarknet-")
        one_by_one = Path(folder) / "network.cfg"
        one_by_one.write_text(_BATCH.sub(r"\1=1", load_cfg_text(cfg)))  # else memory for a training batch
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  - lives as long as the child
        self._child = subprocess.Popen(
            [sys.executable, "-I", libdarknet_child.__file__, str(library), str(one_by_one), str(weights.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={"OMP_NUM_THREADS": str(threads), "PATH": os.environ.get("PATH", "")},
            cwd=folder,  # it writes bad.list beside itself where a photo cannot be decoded
        )
        self._finalizer = weakref.finalize(self, _end, self._child, self._errors, folder)
        answer, _ = self._ask({"do": "size"})
        expected = [self.network.input.width, self.network.input.height]
        if answer["size"] != expected:
            raise EngineError(f"{cfg}: libdarknet read an input of {answer['size']}, not {expected}")

    def layers(self, planes: Floats, indices: Sequence[int]) -> list[Floats]:
        """Float32 [3, H, W] in 0..1 → the outputs [channels, rows, columns] of these layers."""
        channels, height, width = self.network.input
        if planes.shape != (channels, height, width) or planes.dtype != np.float32:
            raise EngineError(
                f"float32 [{channels}, {height}, {width}] is expected, found {planes.dtype} {planes.shape}"
            )
        values = np.ascontiguousarray(planes, "<f4").tobytes()
        _, arrays = self._ask({"do": "layers", "indices": list(indices)}, values)
        for index, array in zip(indices, arrays, strict=True):
            if array.shape != self.network.layers[index].shape:
                raise EngineError(f"layer {index}: libdarknet gives {array.shape}")
        return arrays

    def letterbox(self, photo: Path) -> tuple[Floats, Floats]:
        """The photo as Darknet decodes it [3, h, w], and scaled into the network's input [3, H, W]; 0..1."""
        _, (decoded, boxed) = self._ask({"do": "letterbox", "photo": str(photo.resolve())})
        return decoded, boxed

    def detect(
        self, photo: Path, *, confidence: float = 0.25, iou: float = 0.45, nms: str = "sort"
    ) -> list[DarknetBox]:
        """Photo to boxes by Darknet alone: its decoder, letterbox, network, decode and NMS."""
        settings = {"confidence": confidence, "iou": iou, "nms": nms, "classes": self.network.classes}
        answer, _ = self._ask({"do": "detect", "photo": str(photo.resolve()), **settings})
        return [DarknetBox(*box) for box in answer["boxes"]]

    def close(self) -> None:
        """End the child and remove its files."""
        self._finalizer()

    def _ask(self, request: dict[str, Any], values: bytes = b"") -> tuple[dict[str, Any], list[Floats]]:
        with self._lock:
            if not self._finalizer.alive:
                raise EngineError("libdarknet: this process is closed")
            deadline = time.monotonic() + self._timeout_s
            assert self._child.stdin is not None  # noqa: S101  - opened above
            try:
                self._child.stdin.write(json.dumps({**request, "bytes": len(values)}).encode() + b"\n" + values)
                self._child.stdin.flush()
            except BrokenPipeError as exc:
                raise self._ended(request["do"]) from exc
            header = json.loads(self._read_line(request["do"], deadline))
            shapes: list[list[int]] = header["shapes"]
            lengths = [4 * int(np.prod(shape)) for shape in shapes]
            if sum(lengths) > MAX_ANSWER_BYTES:
                raise EngineError(f"libdarknet: an answer of {sum(lengths)} bytes is above {MAX_ANSWER_BYTES}")
            chunks = [self._read(length, request["do"], deadline) for length in lengths]
        return header, [np.frombuffer(c, "<f4").reshape(shape) for c, shape in zip(chunks, shapes, strict=True)]

    def _read_line(self, doing: str, deadline: float) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            line += self._read_some(1, doing, deadline)
            if len(line) > MAX_LINE_BYTES:
                raise EngineError(f"libdarknet: a line of its answer is above {MAX_LINE_BYTES} bytes")
        return bytes(line)

    def _read(self, length: int, doing: str, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < length:
            data += self._read_some(length - len(data), doing, deadline)
        return bytes(data)

    def _read_some(self, length: int, doing: str, deadline: float) -> bytes:
        assert self._child.stdout is not None  # noqa: S101  - opened above
        descriptor = self._child.stdout.fileno()
        poll = select.poll()  # select() refuses descriptors from 1024 on
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            self._child.kill()
            raise EngineError(f"libdarknet gave no answer to '{doing}' within {self._timeout_s:g} s")
        data = os.read(descriptor, length)
        if not data:
            raise self._ended(doing)
        return data

    def _ended(self, doing: str) -> EngineError:
        code = self._child.wait(self._timeout_s)
        end = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, end - STDERR_TAIL_BYTES))
        last = " | ".join(self._errors.read().decode(errors="replace").split("\n")[-3:]).strip(" |")
        return EngineError(f"libdarknet ended with exit code {code} at '{doing}': {last}")


def _end(child: subprocess.Popen[bytes], errors: IO[bytes], folder: str) -> None:
    child.kill()
    child.wait()
    errors.close()
    shutil.rmtree(folder)
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:  # what the child never read
                continue


class LibDarknetEngine:
    """See ``Engine``: the tensors before each head, which Darknet copies before it applies the logistics."""

    name = "darknet"
    version = "libdarknet"  # the library does not say which

    def __init__(self, process: DarknetProcess) -> None:
        self._process = process
        self._sources = [layer.inputs[0] for layer in process.network.heads]

    def run(self, images: npt.NDArray[np.uint8]) -> list[Floats]:
        rows = [self._process.layers(to_planes(image), self._sources) for image in images]
        return [np.stack(outputs) for outputs in zip(*rows, strict=True)]


def to_planes(pixels: npt.NDArray[np.uint8]) -> Floats:
    """uint8 [H, W, 3] → float32 [3, H, W] in 0..1: the tensor that Darknet's ``network_predict`` takes."""
    planes: Floats = np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
    return planes


def open_files(files: ModelFolder, *, threads: int) -> LibDarknetEngine:
    """Start the child and load the pair. Raises ``EngineError`` where libdarknet is missing or cannot read it."""
    return LibDarknetEngine(DarknetProcess(files.cfg_path, files.weights_path, threads=threads))
