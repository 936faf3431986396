"""What each command of ``python -m model_wrappers.darknet`` does with its parsed arguments."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.check import check, compile_onnx
from model_wrappers.darknet.detector import Detector
from model_wrappers.darknet.errors import DarknetError
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.layers import Layer
from model_wrappers.darknet.letterbox import Size, letterbox
from model_wrappers.darknet.provenance import file_sha256
from model_wrappers.errors import ComponentError

if TYPE_CHECKING:
    from model_wrappers.darknet.proof import Proof

UMASK_MODE = 0o666  # what a new file gets, less the umask; a temporary file has 0600


def explain(exc: Exception) -> str:
    """One line for people: an ``OSError`` begins with the file."""
    if isinstance(exc, OSError) and exc.filename is not None:
        return f"{exc.filename}: {exc.strerror}"
    return str(exc)


def detect(arguments: argparse.Namespace) -> int:
    files = ModelFolder(arguments.cfg, arguments.weights, arguments.names)
    detector = Detector(
        files,
        confidence=arguments.confidence,
        iou=arguments.iou,
        nms=arguments.nms,
        engine=arguments.engine,
        clip=not arguments.raw,
    )
    model = {"name": arguments.cfg.stem, "version": "", "digest": _digest(files)}
    failures = 0
    for path in arguments.photos:
        try:
            reply = {**_detect_one(detector, path), "model": model}
        except (ComponentError, OSError) as exc:
            failures += 1
            print(f"error: {explain(exc)}", file=sys.stderr)
            continue
        print(json.dumps(reply) if arguments.json else _table(reply), flush=True)  # each as soon as it is there
    return 1 if failures else 0


def _detect_one(detector: Detector, path: Path) -> dict[str, Any]:
    from model_wrappers import photo  # the other commands need no image library

    started = time.perf_counter()
    rgb = photo.read(path).decode()
    detections = detector.detect(rgb)
    return {
        "photo": str(path),
        "detections": [detection.to_json() for detection in detections],
        "image": {"width": rgb.shape[1], "height": rgb.shape[0]},
        "milliseconds": round((time.perf_counter() - started) * 1000, 1),
        "engine": detector.engine,
    }


def _digest(files: ModelFolder) -> str:
    """As of a folder with these three files: SHA-256 of what its SHA256SUMS would say."""
    paths = sorted((files.cfg_path, files.weights_path, files.names_path), key=lambda path: path.name)
    lines = "".join(f"{file_sha256(path)}  {path.name}\n" for path in paths)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _table(reply: dict[str, Any]) -> str:
    found = len(reply["detections"])
    title = (
        f"{reply['photo']}: {found} detection{'s' * (found != 1)} in {reply['milliseconds']} ms on {reply['engine']}"
    )
    lines = [title]
    for one in reply["detections"]:
        sides = "  ".join(f"{value:8.1f}" for value in one["box"].values())
        lines.append(f"  {one['label']:<16} {one['confidence']:6.1%}  {sides}")
    return "\n".join(lines)


def check_files(arguments: argparse.Namespace) -> int:
    summary = asdict(check(arguments.cfg, arguments.weights, arguments.names))
    if arguments.json:
        print(json.dumps(summary))
        return 0
    names = summary.pop("names")
    for key, value in summary.items():
        print(f"{key.replace('_', ' '):<14} {value}")
    print(f"{'names':<14} {', '.join(names)}")
    return 0


def prove_files(arguments: argparse.Namespace) -> int:
    from model_wrappers.darknet.names import load_names
    from model_wrappers.darknet.proof import prove
    from model_wrappers.darknet.proof_report import write_proof
    from model_wrappers.darknet.training.voc import load_voc

    if arguments.to.exists():
        raise DarknetError(f"{arguments.to}: exists already; --to names a folder to make")
    print("comparing every layer and timing every engine: a large network takes minutes", file=sys.stderr)
    files = arguments.cfg, arguments.weights, arguments.names
    labelled = (
        load_voc(arguments.labelled, arguments.split, load_names(arguments.names)) if arguments.labelled else None
    )
    proof = prove(
        *files, photos=arguments.photos, licence=arguments.licence, labelled=labelled, int8_max_loss=arguments.int8
    )
    write_proof(proof, arguments.to)
    print(json.dumps(proof.to_json()) if arguments.json else _proof_table(proof, arguments.to))
    return 0


def _proof_table(proof: Proof, folder: Path) -> str:
    from model_wrappers.darknet.int8_trial import describe
    from model_wrappers.darknet.proof_report import REPORT_NAME

    worst = proof.worst
    lines = [f"{len(proof.layers)} layers on {proof.compared_on}: worst {worst.difference:.1e}, layer {worst.index}"]
    for timing in proof.timings:
        result = timing.problem or f"{timing.milliseconds:8.2f} ms  differs by {timing.difference:.1e}"
        lines.append(
            f"  {timing.engine:<16} {result}{'  <- auto, once registered' if timing.engine == proof.engine else ''}"
        )
    return "\n".join([*lines, describe(proof.int8), str(folder / REPORT_NAME)])


def convert(arguments: argparse.Namespace) -> int:
    _refuse_own_inputs(arguments.onnx, (arguments.cfg, arguments.weights, *(arguments.int8 or ())))
    graph = compile_onnx(arguments.cfg, arguments.weights)
    if arguments.int8:
        graph = _quantised(graph, arguments.cfg, arguments.int8)
    _write_whole(arguments.onnx, graph)
    print(f"{arguments.onnx}: {len(graph)} bytes")
    return 0


def _quantised(graph: bytes, cfg: Path, paths: Sequence[Path]) -> bytes:
    from model_wrappers import photo
    from model_wrappers.darknet.quantise import MAX_CALIBRATION_PHOTOS, quantise

    if len(paths) > MAX_CALIBRATION_PHOTOS:  # before they are read
        raise DarknetError(f"--int8: {len(paths)} photos: at most {MAX_CALIBRATION_PHOTOS} are possible")
    network = load_network(cfg)
    size = Size(network.input.width, network.input.height)
    return quantise(graph, network, [letterbox(photo.read(path).decode(), size) for path in paths])


def _refuse_own_inputs(target: Path, inputs: Sequence[Path]) -> None:
    """``convert a.cfg a.weights a.weights`` would leave no weights."""
    for path in inputs:
        if target.exists() and path.exists() and target.samefile(path):
            raise DarknetError(f"{target}: is what is converted: name another file to write")


def _write_whole(target: Path, data: bytes) -> None:
    """The whole file, or what stood there before."""
    umask = os.umask(0)
    os.umask(umask)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    except OSError as exc:  # it names the temporary file
        raise DarknetError(f"{target}: cannot be written: {exc.strerror}") from exc
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).chmod(UMASK_MODE & ~umask)
        Path(name).replace(target)
    except OSError as exc:
        raise DarknetError(f"{target}: cannot be written: {exc.strerror}") from exc
    finally:
        Path(name).unlink(missing_ok=True)


def print_layers(arguments: argparse.Namespace) -> int:
    network = load_network(arguments.cfg)
    for layer in network.layers:
        print(json.dumps(_layer_json(layer)) if arguments.json else _layer_line(layer))
    return 0


def _layer_json(layer: Layer) -> dict[str, Any]:
    return {"index": layer.index, "line": layer.line, "kind": layer.kind, "inputs": layer.inputs, "shape": layer.shape}


def _layer_line(layer: Layer) -> str:
    inputs = ",".join("photo" if index < 0 else str(index) for index in layer.inputs)
    settings = " ".join(f"{key}={value}" for key, value in asdict(layer.op).items() if key != "anchors")
    return f"{layer.index:>4}  {layer.kind:<14} {inputs:<12} {layer.shape!s:<18} {settings}"
