"""The command line of training: train, precision, anchors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.detector import Detector
from model_wrappers.darknet.errors import DarknetError
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.letterbox import Size
from model_wrappers.darknet.names import load_names
from model_wrappers.darknet.training.anchors import find_anchors, mean_iou
from model_wrappers.darknet.training.errors import Interrupted
from model_wrappers.darknet.training.options import INTERRUPTED_EXIT, add_training_options, parse_session
from model_wrappers.darknet.training.photos import letterboxed
from model_wrappers.darknet.training.precision import CONFIDENCE, detector_precision
from model_wrappers.darknet.training.voc import VocPhotos, load_voc

EXAMPLES = """examples:
  python -m model_wrappers.darknet.training anchors cells.cfg cells.names --voc cells --count 4
  python -m model_wrappers.darknet.training train cells.cfg cells.names --voc cells --to out --epochs 300
  python -m model_wrappers.darknet.training train cells.cfg cells.names --voc cells --to s3://training/cells \\
      --experiment cells --register cells --alias challenger
  python -m model_wrappers.darknet.training precision out/cells.cfg out/cells.weights out/cells.names --voc cells

A training that is started again with the same options goes on from the checkpoint in --to.
exit codes: 0 done, 1 refused, 2 wrong usage, 143 stopped by a signal after a checkpoint was kept
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what is refused is one line on standard error and exit code 1."""
    arguments = _parser().parse_args(argv)
    run = {"train": _train, "precision": _precision, "anchors": _anchors}[arguments.command]
    try:
        return run(arguments)
    except Interrupted as exc:
        print(exc, file=sys.stderr)
        return INTERRUPTED_EXIT
    except (DarknetError, OSError) as exc:
        if arguments.debug:
            raise
        print(f"error: {exc}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model_wrappers.darknet.training",
        description="Train a Darknet cfg with PyTorch on photos in Pascal VOC's form.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show where an error was raised")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="learn weights; goes on from its checkpoint")
    precision = commands.add_parser("precision", help="mAP@0.5 of a finished model, through the serving engine")
    anchors = commands.add_parser("anchors", help="anchors for a cfg, by k-means of the box sizes")
    for command in (train, precision, anchors):
        command.add_argument("cfg", type=Path, metavar="CFG")
        if command is precision:
            command.add_argument("weights", type=Path, metavar="WEIGHTS")
        command.add_argument("names", type=Path, metavar="NAMES")
        split = "test" if command is precision else "train"
        command.add_argument("--voc", type=Path, required=True, metavar="FOLDER", help="JPEGImages, Annotations, ...")
        command.add_argument("--split", default=split, help="list in ImageSets/Main (default %(default)s)")
    train.add_argument("--validate", default="val", metavar="SPLIT", help="list for mAP; '' for none (default val)")
    add_training_options(train)
    anchors.add_argument("--count", type=int, default=6, help="anchors over all heads (default %(default)s)")
    return parser


def _train(arguments: argparse.Namespace) -> int:
    from model_wrappers.darknet.training.session import run_session  # PyTorch: the other commands do without it

    session = parse_session(arguments, cfg=arguments.cfg, names=arguments.names)
    photos = _photos(arguments, arguments.split)
    validation = _photos(arguments, arguments.validate) if arguments.validate else None
    if validation is not None and (seen := set(photos.paths) & set(validation.paths)):
        said = (
            f"{len(seen)} of the {len(validation)} photos that measure mAP are also learned from, such as {min(seen)}"
        )
        print(f"warning: {said}: the figure is better than the network", file=sys.stderr)
    run_session(session, photos, validation)
    return 0


def _precision(arguments: argparse.Namespace) -> int:
    photos = _photos(arguments, arguments.split)
    files = ModelFolder(arguments.cfg, arguments.weights, arguments.names)
    found = detector_precision(Detector(files, confidence=CONFIDENCE), photos)
    for name, value in found.classes.items():
        print(f"{name:<16} AP@0.5  {value:.4f}")
    print(f"{f'{len(photos)} photos':<16} mAP@0.5 {found.map50:.4f}")
    return 0


def _anchors(arguments: argparse.Namespace) -> int:
    network = load_network(arguments.cfg)
    net = Size(network.input.width, network.input.height)
    photos = _photos(arguments, arguments.split)
    boxes = np.concatenate([letterboxed(photos.read(index), net).boxes for index in range(len(photos))])
    sizes = boxes[:, 2:] - boxes[:, :2]
    found = find_anchors(sizes, arguments.count).round()
    print("anchors=" + ",  ".join(f"{width:.0f},{height:.0f}" for width, height in found))
    print(f"num={arguments.count}")
    print(f"mean IoU of {len(sizes)} boxes with the nearest anchor: {mean_iou(sizes, found):.3f}", file=sys.stderr)
    return 0


def _photos(arguments: argparse.Namespace, split: str) -> VocPhotos:
    """What is odd in the data set is told on standard error and left out."""
    names = load_names(arguments.names, load_network(arguments.cfg).classes)
    photos = load_voc(arguments.voc, split, names)
    for finding in photos.findings:
        print(f"warning: {finding}", file=sys.stderr)
    return photos


if __name__ == "__main__":
    sys.exit(main())
