"""The command line of the Darknet library: detect, check, prove, convert, layers."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.check import check, compile_onnx
from model_wrappers.darknet.detector import Detector
from model_wrappers.darknet.engines import AUTO, ENGINES
from model_wrappers.darknet.errors import DarknetError
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.layers import Layer
from model_wrappers.darknet.letterbox import Size, letterbox
from model_wrappers.darknet.nms import NMS_KINDS
from model_wrappers.darknet.provenance import file_sha256
from model_wrappers.errors import ComponentError

EXAMPLES = """examples:
  python -m model_wrappers.darknet check yolo.cfg yolo.weights coco.names
  python -m model_wrappers.darknet detect yolo.cfg yolo.weights coco.names dog.jpg --confidence .5
  python -m model_wrappers.darknet detect yolo.cfg yolo.weights coco.names *.jpg --json
  python -m model_wrappers.darknet detect yolo.cfg yolo.weights coco.names dog.jpg --engine darknet
  python -m model_wrappers.darknet prove yolo.cfg yolo.weights coco.names dog.jpg --to proof
  python -m model_wrappers.darknet convert yolo.cfg yolo.weights model.onnx
  python -m model_wrappers.darknet convert yolo.cfg yolo.weights model.int8.onnx --int8 photos/*.jpg
  python -m model_wrappers.darknet layers yolo.cfg

exit codes: 0 done, 1 a file is refused, 2 wrong usage
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a refused file is one line on standard error and exit code 1."""
    arguments = _parser().parse_args(argv)
    run = {"detect": _detect, "check": _check, "prove": _prove, "convert": _convert, "layers": _layers}[
        arguments.command
    ]
    try:
        return run(arguments)
    except (DarknetError, ComponentError, OSError) as exc:
        if arguments.debug:
            raise
        print(f"error: {exc}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model_wrappers.darknet",
        description="Darknet models: strictly read, compiled to ONNX, run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show where an error was raised")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    detect = commands.add_parser("detect", help="find objects in photos")
    checking = commands.add_parser("check", help="read the three files strictly, against each other")
    prove = commands.add_parser("prove", help="compare layer by layer, time the engines, write a report")
    convert = commands.add_parser("convert", help="compile to ONNX")
    layers = commands.add_parser("layers", help="print the layers with their shapes")
    for command in (detect, checking, prove, convert, layers):
        command.add_argument("cfg", type=Path, metavar="CFG")
    for command in (detect, checking, prove, convert):
        command.add_argument("weights", type=Path, metavar="WEIGHTS")
    for command in (detect, checking, prove):
        command.add_argument("names", type=Path, metavar="NAMES")
    for command in (detect, checking, layers):
        command.add_argument("--json", action="store_true", help="print JSON, one object a line")
    prove.add_argument("photos", type=Path, nargs="*", metavar="PHOTO", help="shown with boxes in the report")
    prove.add_argument("--to", type=Path, default=Path("proof"), help="folder to make (default %(default)s)")
    prove.add_argument("--licence", default="", help="of the weights")
    convert.add_argument("--int8", type=Path, nargs="+", metavar="PHOTO", help="in 8 bits, calibrated on these photos")
    convert.add_argument("onnx", type=Path, metavar="ONNX", help="file to write")
    _add_detect_options(detect)
    return parser


def _add_detect_options(detect: argparse.ArgumentParser) -> None:
    detect.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    detect.add_argument("--confidence", type=_share, default=0.25, help="a class counts above it (default %(default)s)")
    detect.add_argument(
        "--iou", type=_share, default=0.45, help="NMS drops boxes that overlap more (default %(default)s)"
    )
    detect.add_argument("--nms", choices=NMS_KINDS, default="sort", help="per class, or over all by objectness")
    detect.add_argument("--engine", choices=(AUTO, *ENGINES), default=AUTO, help="what runs the network")
    detect.add_argument("--raw", action="store_true", help="boxes as computed, not clipped to the photo")


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _detect(arguments: argparse.Namespace) -> int:
    from model_wrappers import photo  # the other commands need no image library

    files = ModelFolder(arguments.cfg, arguments.weights, arguments.names)
    model = {"name": arguments.cfg.stem, "version": "", "digest": _digest(files)}
    detector = Detector(
        files,
        confidence=arguments.confidence,
        iou=arguments.iou,
        nms=arguments.nms,
        engine=arguments.engine,
        clip=not arguments.raw,
    )
    failures = 0
    for path in arguments.photos:
        try:
            reply = {**_detect_one(detector, path, photo.decode), "model": model}
        except (ComponentError, OSError) as exc:
            failures += 1
            print(f"error: {path}: {exc}", file=sys.stderr)
            continue
        print(json.dumps(reply) if arguments.json else _table(reply))
    return 1 if failures else 0


def _detect_one(detector: Detector, path: Path, decode: Any) -> dict[str, Any]:
    started = time.perf_counter()
    rgb = decode(path.read_bytes())
    detections = detector.detect(rgb)
    return {
        "photo": str(path),
        "detections": [detection.to_json() for detection in detections],
        "image": {"width": rgb.shape[1], "height": rgb.shape[0]},
        "milliseconds": round((time.perf_counter() - started) * 1000, 1),
    }


def _digest(files: ModelFolder) -> str:
    """As of a folder with these three files: SHA-256 of what its SHA256SUMS would say."""
    paths = sorted((files.cfg_path, files.weights_path, files.names_path), key=lambda path: path.name)
    lines = "".join(f"{file_sha256(path)}  {path.name}\n" for path in paths)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _table(reply: dict[str, Any]) -> str:
    lines = [f"{reply['photo']}: {len(reply['detections'])} detections in {reply['milliseconds']} ms"]
    for one in reply["detections"]:
        sides = "  ".join(f"{value:8.1f}" for value in one["box"].values())
        lines.append(f"  {one['label']:<16} {one['confidence']:6.1%}  {sides}")
    return "\n".join(lines)


def _check(arguments: argparse.Namespace) -> int:
    summary = asdict(check(arguments.cfg, arguments.weights, arguments.names))
    if arguments.json:
        print(json.dumps(summary))
        return 0
    names = summary.pop("names")
    for key, value in summary.items():
        print(f"{key.replace('_', ' '):<14} {value}")
    print(f"{'names':<14} {', '.join(names)}")
    return 0


def _prove(arguments: argparse.Namespace) -> int:
    from model_wrappers.darknet.proof import prove
    from model_wrappers.darknet.proof_report import REPORT_NAME, write_proof

    if arguments.to.exists():
        raise DarknetError(f"{arguments.to}: exists already; --to names a folder to make")
    files = arguments.cfg, arguments.weights, arguments.names
    proof = prove(*files, photos=arguments.photos, licence=arguments.licence)
    write_proof(proof, arguments.to)
    worst = proof.worst
    print(f"{len(proof.layers)} layers on {proof.compared_on}: worst {worst.difference:.1e}, layer {worst.index}")
    for timing in proof.timings:
        result = timing.problem or f"{timing.milliseconds:8.2f} ms  differs by {timing.difference:.1e}"
        print(f"  {timing.engine:<12} {result}{'  <- auto' if timing.engine == proof.engine else ''}")
    print(arguments.to / REPORT_NAME)
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    graph = compile_onnx(arguments.cfg, arguments.weights)
    if arguments.int8:
        from model_wrappers import photo
        from model_wrappers.darknet.quantise import quantise

        network = load_network(arguments.cfg)
        size = Size(network.input.width, network.input.height)
        photos = (letterbox(photo.decode(path.read_bytes()), size) for path in arguments.int8)
        graph = quantise(graph, network, list(photos))
    arguments.onnx.write_bytes(graph)
    print(f"{arguments.onnx}: {len(graph)} bytes")
    return 0


def _layers(arguments: argparse.Namespace) -> int:
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


if __name__ == "__main__":
    sys.exit(main())
