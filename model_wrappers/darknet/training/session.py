"""One whole training as a person or a Job starts it: goes on where it stopped, keeps the result, registers it."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import cv2

from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.training.checkpoint import Checkpoint, keep_checkpoint, load_checkpoint
from model_wrappers.darknet.training.errors import Interrupted, TrainingError
from model_wrappers.darknet.training.output import METRICS_NAME, write_model
from model_wrappers.darknet.training.photos import PhotoSet
from model_wrappers.darknet.training.places import FolderPlace, Place, open_place
from model_wrappers.darknet.training.progress import ProgressLines
from model_wrappers.darknet.training.settings import CHECKPOINT_EVERY_S, DEFAULTS, Settings
from model_wrappers.darknet.training.tracking import MlflowRun, check_registration
from model_wrappers.darknet.training.train import Trained, Upkeep, choose_device, train

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


def run_session(session: Session, photos: PhotoSet, validation: PhotoSet | None = None) -> Trained:
    """Prints its progress. Raises the library's errors, and Interrupted after a SIGTERM or SIGINT."""
    if session.register:
        check_registration(session.register, session.alias)
    place = open_place(session.to)
    checkpoint = None if session.fresh else load_checkpoint(place)
    if checkpoint is not None:
        print(f"going on from {place}: {checkpoint.step} steps are done", flush=True)
    print(f"{len(photos)} photos, {len(validation or ())} to validate, on {choose_device(session.device)}", flush=True)
    run = _open_run(session, photos, checkpoint)
    try:
        with _stop_signals() as stopped:
            trained = train(
                session.cfg,
                photos,
                settings=session.settings,
                validation=validation,
                device=session.device,
                start=session.start,
                resume=checkpoint,
                upkeep=_upkeep(session, place, run, stopped, checkpoint),
            )
        _finish(session, trained, place, run, validation)
    except Interrupted:
        raise
    except BaseException as exc:
        if run:
            _end_failed(run, exc)
        raise
    if run:
        run.end("FINISHED")
    return trained


def _end_failed(run: MlflowRun, cause: BaseException) -> None:
    """MLflow may be what failed: then its answer to this is a note on ``cause``, which stays the error."""
    try:
        run.end("FAILED")
    except TrainingError as exc:
        cause.add_note(f"run {run.run_id} is still RUNNING in MLflow: {exc}")


def _open_run(session: Session, photos: PhotoSet, checkpoint: Checkpoint | None) -> MlflowRun | None:
    if not session.experiment:
        return None
    settings = session.settings.to_json()
    facts = {**settings.pop("augmentation"), **settings, "cfg": session.cfg.name, "photos": len(photos)}
    return MlflowRun(
        session.experiment, name=session.cfg.stem, facts=facts, run_id=checkpoint.run if checkpoint else ""
    )


def _upkeep(
    session: Session, place: Place, run: MlflowRun | None, stopped: list[int], checkpoint: Checkpoint | None
) -> Upkeep:
    lines = ProgressLines(checkpoint.step if checkpoint else 0)
    return Upkeep(
        observers=(lines, run) if run else (lines,),
        keep=lambda made: keep_checkpoint(place, made),
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
            _register(session, files, run, validation)
        elif run:
            run.keep(results)


def _register(session: Session, files: ModelFolder, run: MlflowRun, validation: PhotoSet | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        shown = tuple(_write_photos(validation, Path(scratch))) if validation else ()
        version = run.register(files, session.register, photos=shown, licence=session.licence, alias=session.alias)
    alias = f", alias {session.alias}" if session.alias else ""
    print(f"registered models:/{session.register}/{version}{alias}", flush=True)


def _write_photos(photos: PhotoSet, folder: Path) -> Iterator[Path]:
    for index in range(min(PROOF_PHOTOS, len(photos))):
        path = folder / f"validation-{index}.png"
        cv2.imwrite(str(path), cv2.cvtColor(photos.read(index).pixels, cv2.COLOR_RGB2BGR))
        yield path


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Filled by SIGTERM and SIGINT, which the step under way may outlive. A second SIGINT ends at once."""
    stopped: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if stopped and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopped.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
