"""What a training leaves: cfg, weights, names, read back strictly, and its figures epoch by epoch."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

from model_wrappers.darknet.check import check
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.training.checkpoint import EpochMetrics
from model_wrappers.darknet.training.train import Trained
from model_wrappers.darknet.weights import Weights, WeightsHeader, write_weights

METRICS_NAME = "metrics.csv"
DRAFT_NAME = ".result"


def write_model(trained: Trained, folder: Path, *, cfg: Path, names: Path) -> ModelFolder:
    """``<stem of cfg>.weights`` and ``metrics.csv`` in ``folder``, beside copies of the other two files.

    The stem names all of them, so that the folder is one that serves. Each file is whole from when it is there. Raises the
    library's errors where the three do not belong together.
    """
    draft = folder / DRAFT_NAME
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
    draft.mkdir(parents=True)
    files = ModelFolder(draft / cfg.name, draft / f"{cfg.stem}.weights", draft / names.name)
    write_weights_file(trained, files.weights_path)
    for source, target in ((cfg, files.cfg_path), (names, files.names_path)):
        shutil.copyfile(source, target)
    (draft / METRICS_NAME).write_text(render_metrics(trained.history))
    check(files.cfg_path, files.weights_path, files.names_path)
    for path in sorted(draft.iterdir()):
        path.replace(folder / path.name)
    draft.rmdir()
    return ModelFolder(*(folder / path.name for path in (files.cfg_path, files.weights_path, files.names_path)))


def write_weights_file(trained: Trained, path: Path) -> None:
    header = WeightsHeader(seen=trained.seen)
    write_weights(path, trained.network, Weights(header, trained.module.parameters_by_layer()))


def render_metrics(history: tuple[EpochMetrics, ...]) -> str:
    """A table with one column per class; empty where nothing was measured."""
    classes = sorted({name for row in history for name in row.classes or ()})
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["epoch", "loss", "rate", "map50", *(f"ap50 {name}" for name in classes)])
    for row in history:
        found = row.classes or {}
        precisions = [row.map50, *(found.get(name) for name in classes)]
        texts = ["" if value is None else f"{value:.4f}" for value in precisions]
        writer.writerow([row.epoch, f"{row.loss:.4f}", f"{row.rate:.3e}", *texts])
    return stream.getvalue()
