"""The options of a training on a command line; a data set's own program adds where its photos come from."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from model_wrappers.darknet.training.augment import Augmentation
from model_wrappers.darknet.training.errors import TrainingError
from model_wrappers.darknet.training.settings import CHECKPOINT_EVERY_S, DEFAULTS, DEVICES, Settings

if TYPE_CHECKING:
    from model_wrappers.darknet.training.session import Session

INTERRUPTED_EXIT = 143  # as of a process that SIGTERM ended


def add_training_options(parser: argparse.ArgumentParser, *, defaults: Settings = DEFAULTS) -> None:
    """Every setting, and where the result goes."""
    parser.add_argument("--to", required=True, metavar="PLACE", help="folder or s3://bucket/prefix: checkpoint, result")
    for one in dataclasses.fields(Settings):
        if one.metadata:
            flag = f"--{one.name.replace('_', '-')}"
            default = getattr(defaults, one.name)
            parser.add_argument(
                flag, type=type(default), default=default, help=f"{one.metadata['help']} (default {default})"
            )
    _add_augmentation(parser, defaults.augmentation)
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto is the GPU where there is one")
    parser.add_argument("--threads", type=int, help="of PyTorch on the CPU (default: its own choice)")
    parser.add_argument("--start", type=Path, metavar="WEIGHTS", help="a .weights file of the same cfg to begin with")
    parser.add_argument("--fresh", action="store_true", help="begin anew although PLACE holds a checkpoint")
    parser.add_argument(
        "--checkpoint-every", type=float, default=CHECKPOINT_EVERY_S, metavar="S", help="seconds (default %(default)s)"
    )
    parser.add_argument("--experiment", default="", help="log to this experiment of MLflow (MLFLOW_TRACKING_URI)")
    parser.add_argument("--register", default="", metavar="NAME", help="register the result, with its proof")
    parser.add_argument("--alias", default="", help="of the registered version, such as challenger")
    parser.add_argument("--licence", default="", help="of the weights, told with the version")


def _add_augmentation(parser: argparse.ArgumentParser, kind: Augmentation) -> None:
    switch = argparse.BooleanOptionalAction
    parser.add_argument("--mirror", action=switch, default=kind.mirror, help="mirror every second photo")
    parser.add_argument("--upside-down", action=switch, default=kind.upside_down, help="for photos that have no up")
    parser.add_argument("--scale", type=float, default=kind.scale, help=f"largest zoom (default {kind.scale})")
    parser.add_argument("--shift", type=float, default=kind.shift, help=f"share of a side (default {kind.shift})")
    parser.add_argument("--light", type=float, default=kind.light, help=f"change of colours (default {kind.light})")


def parse_settings(arguments: argparse.Namespace) -> Settings:
    values = {one.name: getattr(arguments, one.name) for one in dataclasses.fields(Settings) if one.metadata}
    kinds = {one.name: getattr(arguments, one.name) for one in dataclasses.fields(Augmentation)}
    return Settings(**values, augmentation=Augmentation(**kinds))


def parse_session(arguments: argparse.Namespace, *, cfg: Path, names: Path) -> Session:
    """Also sets PyTorch's threads, which are the process's."""
    import torch  # the other commands do without it

    from model_wrappers.darknet.training.session import Session

    if arguments.threads is not None:
        if arguments.threads < 1:
            raise TrainingError(f"threads={arguments.threads}: 1 or more is possible")
        torch.set_num_threads(arguments.threads)
    return Session(
        cfg=cfg,
        names=names,
        to=arguments.to,
        settings=parse_settings(arguments),
        device=arguments.device,
        start=arguments.start,
        experiment=arguments.experiment,
        register=arguments.register,
        alias=arguments.alias,
        licence=arguments.licence,
        fresh=arguments.fresh,
        checkpoint_every_s=arguments.checkpoint_every,
    )
