"""The command line of the Darknet library: detect, check, prove, convert, layers."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from model_wrappers.darknet import commands
from model_wrappers.darknet.engines import AUTO, ENGINES
from model_wrappers.darknet.errors import DarknetError
from model_wrappers.darknet.nms import NMS_KINDS
from model_wrappers.errors import ComponentError

PROGRAM = "python -m model_wrappers.darknet"
EXIT_CODES = "exit codes: 0 done, 1 a file is refused, 2 wrong usage"
DEBUG_HELP = "show where an error was raised"
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
EXAMPLES = {
    "check": ["yolo.cfg yolo.weights coco.names"],
    "detect": [
        "yolo.cfg yolo.weights coco.names dog.jpg --confidence .5",
        "yolo.cfg yolo.weights coco.names *.jpg --json",
        "yolo.cfg yolo.weights coco.names dog.jpg --engine darknet --nms obj",
    ],
    "prove": [
        "yolo.cfg yolo.weights coco.names dog.jpg --to proof --licence 'public domain'",
        "yolo.cfg yolo.weights voc.names --labelled VOC2007 --split test --int8 .005",
    ],
    "convert": ["yolo.cfg yolo.weights model.onnx", "yolo.cfg yolo.weights model.int8.onnx --int8 photos/*.jpg"],
    "layers": ["yolo.cfg"],
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a refused file is one line on standard error and exit code 1."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "prove" and arguments.int8 is not None and arguments.labelled is None:
        parser.error("prove: --int8 MAX_LOSS is of mAP on labelled photos: --labelled names their folder")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        code = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough; what is still to be written goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (DarknetError, ComponentError, OSError) as exc:
        if arguments.debug:
            raise
        print(f"error: {commands.explain(exc)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Darknet models: strictly read, compiled to ONNX, run.",
        epilog=_epilog(*EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help=DEBUG_HELP)
    several = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    detect = _command(several, "detect", "find objects in photos", commands.detect)
    check = _command(several, "check", "read the three files strictly, against each other", commands.check_files)
    prove = _command(several, "prove", "compare layer by layer, time the engines, write a report", commands.prove_files)
    convert = _command(several, "convert", "compile to ONNX", commands.convert)
    layers = _command(several, "layers", "print the layers with their shapes", commands.print_layers)
    for command in (detect, check, prove, convert, layers):
        command.add_argument("cfg", type=Path, metavar="CFG", help="the network's .cfg file")
    for command in (detect, check, prove, convert):
        command.add_argument("weights", type=Path, metavar="WEIGHTS", help="its .weights file")
    for command in (detect, check, prove):
        command.add_argument("names", type=Path, metavar="NAMES", help="class names, one a line")
    for command in (detect, check, prove, layers):
        command.add_argument("--json", action="store_true", help="print JSON, one object a line")
    prove.add_argument("photos", type=Path, nargs="*", metavar="PHOTO", help="shown with boxes in the report")
    prove.add_argument("--to", type=Path, default=Path("proof"), help="folder to make (default %(default)s)")
    prove.add_argument("--licence", default="", help="of the weights")
    _add_int8_options(prove)
    convert.add_argument("--int8", type=Path, nargs="+", metavar="PHOTO", help="in 8 bits, calibrated on these photos")
    convert.add_argument("onnx", type=Path, metavar="ONNX", help="file to write")
    _add_detect_options(detect)
    return parser


def _add_int8_options(prove: argparse.ArgumentParser) -> None:
    prove.add_argument(
        "--labelled",
        type=Path,
        metavar="FOLDER",
        help="in Pascal VOC's form: 8 bits are tried on it, and their loss of mAP",
    )
    prove.add_argument("--split", default="test", help="of the labelled photos (default %(default)s)")
    prove.add_argument(
        "--int8", type=_share, metavar="MAX_LOSS", help="of mAP, 0 to 1: auto may choose 8 bits that lose no more"
    )


def _command(
    several: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    command = several.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=_epilog(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=DEBUG_HELP)
    return command


def _epilog(*names: str) -> str:
    lines = [f"  {PROGRAM} {name} {rest}" for name in names for rest in EXAMPLES[name]]
    return "\n".join(["examples:", *lines, "", EXIT_CODES])


def _add_detect_options(detect: argparse.ArgumentParser) -> None:
    detect.add_argument("photos", type=Path, nargs="+", metavar="PHOTO", help="JPEG, PNG, WebP, BMP, GIF or TIFF")
    detect.add_argument("--confidence", type=_share, default=0.25, help="a class counts above it (default %(default)s)")
    detect.add_argument(
        "--iou", type=_share, default=0.45, help="NMS drops boxes that overlap more (default %(default)s)"
    )
    detect.add_argument(
        "--nms", choices=NMS_KINDS, default="sort", help="per class, or over all by objectness (default %(default)s)"
    )
    detect.add_argument(
        "--engine", choices=(AUTO, *ENGINES), default=AUTO, help="what runs the network (default %(default)s)"
    )
    detect.add_argument("--raw", action="store_true", help="boxes as computed, not clipped to the photo")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
