"""One whole training as a person or a Job starts it: goes on where it stopped, keeps the result, registers it."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.names import load_names
from model_wrappers.darknet.training.checkpoint import Checkpoint, keep_checkpoint, load_checkpoint
from model_wrappers.darknet.training.errors import Interrupted, TrainingError
from model_wrappers.darknet.training.keeping import CheckpointKeeper
from model_wrappers.darknet.training.output import METRICS_NAME, write_model
from model_wrappers.darknet.training.photos import PhotoSet
from model_wrappers.darknet.training.places import FolderPlace, Place, open_place
from model_wrappers.darknet.training.progress import ProgressLines
from model_wrappers.darknet.training.settings import CHECKPOINT_EVERY_S, DEFAULTS, Settings
from model_wrappers.darknet.training.stopping import stop_signals
from model_wrappers.darknet.training.tracking import MlflowRun, check_registration
from model_wrappers.darknet.training.train import Prepared, Trained, Upkeep, choose_device, learn, prepare

PROOF_PHOTOS = 4  # of the validation set, shown with boxes in the proof


@dataclass(frozen=True)
class Session:
    """``to`` is a folder or ``s3://bucket/prefix``; ``experiment`` and ``register`` are empty where MLflow is not asked.

    ``fresh`` ignores a checkpoint in ``to``.
    """

    cfg: Path
    names: Path
    to: str
    settings: Settings = DEFAULTS
    device: str = "auto"
    start: Path | None = None
    experiment: str = ""
    register: str = ""
    alias: str = ""
    licence: str = ""
    fresh: bool = False
    checkpoint_every_s: float = CHECKPOINT_EVERY_S

    def __post_init__(self) -> None:
        if self.register and not self.experiment:
            raise TrainingError("a version is registered from a run: name an experiment too")
        if self.alias and not self.register:
            raise TrainingError("an alias points at a registered version: name the model to register too")
        if not (math.isfinite(self.checkpoint_every_s) and self.checkpoint_every_s >= 0):
            raise TrainingError(f"checkpoint_every_s={self.checkpoint_every_s}: 0 seconds or more are possible")
        if self.start is not None and self.start.resolve() == (Path(self.to) / f"{self.cfg.stem}.weights").resolve():
            raise TrainingError(
                f"{self.start}: the result would be written over what it starts from: give another place"
            )


def run_session(session: Session, photos: PhotoSet, validation: PhotoSet | None = None) -> Trained:
    """Prints its progress. Raises the library's errors, and Interrupted after a SIGTERM or SIGINT."""
    _check_names_file(session.names, photos)
    if session.register:
        check_registration(session.register, session.alias)
    place = open_place(session.to)
    with place.held():
        checkpoint = None if session.fresh else load_checkpoint(place)
        if checkpoint is not None:
            print(f"going on from {place}: {checkpoint.step} steps are done", flush=True)
        device = choose_device(session.device)
        print(f"{len(photos)} photos, {len(validation or ())} to validate, on {device}", flush=True)
        prepared = prepare(
            session.cfg,
            photos,
            settings=session.settings,
            validation=validation,
            device=session.device,
            start=session.start,
            resume=checkpoint,
        )
        return _train(session, prepared, place, checkpoint)


def _check_names_file(path: Path, photos: PhotoSet) -> None:
    """The result is served with this file: its names, in another order, would be given to the wrong boxes."""
    names = load_names(path)
    if names != tuple(photos.names):
        raise TrainingError(
            f"{path}: has the classes {', '.join(names)}: those of the photos, in their order, are expected: "
            f"{', '.join(photos.names)}"
        )


def _train(session: Session, prepared: Prepared, place: Place, checkpoint: Checkpoint | None) -> Trained:
    """MLflow hears of a training only once nothing but the learning can fail."""
    with stop_signals() as stopped:
        run = _open_run(session, prepared, checkpoint)
        with _ended(run):
            if checkpoint is None or (run and run.run_id != checkpoint.run):
                # Killed from now on, it goes on in the same run; and a place that cannot be written is known at once.
                keep_checkpoint(place, prepared.checkpoint(run.run_id if run else ""))
            trained = learn(prepared, _upkeep(session, prepared, place, run, stopped))
    with _ended(run):
        _finish(session, trained, place, run, prepared.validation)
    if run is None:
        return trained
    run.end("FINISHED")
    return replace(trained, run=run.run_id)


def _open_run(session: Session, prepared: Prepared, checkpoint: Checkpoint | None) -> MlflowRun | None:
    """With every epoch that is behind it: an earlier process may have had none to log to."""
    if not session.experiment:
        return None
    photos, settings = prepared.state.batches.photos, session.settings.to_json()
    run = MlflowRun(
        session.experiment,
        name=session.cfg.stem,
        facts={**settings.pop("augmentation"), **settings, "cfg": session.cfg.name, "photos": len(photos)},
        classes=photos.names,
        run_id=checkpoint.run if checkpoint else "",
    )
    with _ended(run):
        for metrics in checkpoint.history if checkpoint else ():
            run.epoch(metrics, session.settings.epochs)
    return run


@contextmanager
def _ended(run: MlflowRun | None) -> Iterator[None]:
    """A run of which this process will do no more is not left RUNNING."""
    try:
        yield
    except BaseException as exc:
        if run:
            _end(run, "KILLED" if isinstance(exc, Interrupted | KeyboardInterrupt) else "FAILED")
        raise


def _end(run: MlflowRun, status: str) -> None:
    """MLflow may be what failed: its answer to this must not stand in for the error that led here."""
    try:
        run.end(status)
    except TrainingError as exc:
        print(f"warning: run {run.run_id} is still RUNNING in MLflow, not {status}: {exc}", file=sys.stderr)


def _upkeep(session: Session, prepared: Prepared, place: Place, run: MlflowRun | None, stopped: list[int]) -> Upkeep:
    lines = ProgressLines(prepared.state.done)
    steps = prepared.state.batches.steps
    return Upkeep(
        observers=(lines, run) if run else (lines,),
        keep=CheckpointKeeper(place, lambda made: bool(stopped) or made.step == steps),
        every_s=session.checkpoint_every_s,
        stop=lambda: bool(stopped),
        run=run.run_id if run else "",
    )


def _finish(
    session: Session, trained: Trained, place: Place, run: MlflowRun | None, validation: PhotoSet | None
) -> None:
    with ExitStack() as stack:
        if isinstance(place, FolderPlace):
            folder = place.folder
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = write_model(trained, folder, cfg=session.cfg, names=session.names)
        results = (files.cfg_path, files.weights_path, files.names_path, folder / METRICS_NAME)
        if not isinstance(place, FolderPlace):
            for path in results:
                place.write(path.name, path.read_bytes())
        print(f"wrote {', '.join(path.name for path in results)} to {place}", flush=True)
        if run and session.register:
            _register(session, files, run, trained, validation)
        elif run:
            run.keep(results)


def _register(
    session: Session, files: ModelFolder, run: MlflowRun, trained: Trained, validation: PhotoSet | None
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        shown = tuple(_write_photos(validation, Path(scratch))) if validation else ()
        version = run.register(
            files,
            session.register,
            photos=shown,
            licence=session.licence,
            alias=session.alias,
            why=_reason(trained, run),
        )
    alias = f", alias {session.alias}" if session.alias else ""
    print(f"registered models:/{session.register}/{version}{alias}", flush=True)


def _reason(trained: Trained, run: MlflowRun) -> str:
    """Why the alias is moved."""
    measured = [row.map50 for row in trained.history if row.map50 is not None]
    return f"trained in run {run.run_id}" + (f", mAP@0.5 {measured[-1]:.3f}" if measured else "")


def _write_photos(photos: PhotoSet, folder: Path) -> Iterator[Path]:
    for index in range(min(PROOF_PHOTOS, len(photos))):
        path = folder / f"validation-{index}.png"
        is_encoded, encoded = cv2.imencode(".png", cv2.cvtColor(photos.read(index).pixels, cv2.COLOR_RGB2BGR))
        if not is_encoded:
            raise TrainingError(f"photo {index} of the validation set cannot be shown in the proof: it is no PNG")
        path.write_bytes(encoded.tobytes())
        yield path
