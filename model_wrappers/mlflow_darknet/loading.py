"""A model of any URI as a detector, once every byte of the download is the one that was saved."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml

from model_wrappers import darknet
from model_wrappers.mlflow_darknet.registration import DIGEST_TAG
from model_wrappers.model_identity import folder_digest
from model_wrappers.model_sums import DOWNLOAD_NOTE, SUMS_NAME, SumsError, refuse_unlisted, verify_listed
from model_wrappers.plain_yaml import parse_plain
from model_wrappers.regular_file import read_start

MAX_NOTE_BYTES = 1 << 12  # two lines
NO_NAME = ("null", "")  # what YAML says of a logged model that no version was made of


def load_model(model_uri: str | Path, *, dst_path: str | Path | None = None) -> darknet.Detector:
    """The detector of a ``models:/``, ``runs:/`` or local model; ``dst_path``, a folder, keeps the files that are downloaded.

    Raises:
        SumsError: a file differs from SHA256SUMS or is not in it, or the list is not the one that was registered.
        MlflowException: there is no such model.
    """
    import mlflow

    with tempfile.TemporaryDirectory() as temporary:
        is_local = dst_path is None and Path(model_uri).is_dir()
        wanted = None if is_local else str(dst_path or temporary)
        folder = Path(mlflow.artifacts.download_artifacts(str(model_uri), dst_path=wanted))
        refuse_unlisted(folder, verify_listed(folder))
        if not is_local:
            _check_registered(folder)
        return darknet.Detector(folder)


def _check_registered(folder: Path) -> None:
    """Compare with the registry: MLflow's note says which version the download is, whatever its alias says by now."""
    import mlflow

    registered = read_note(folder / DOWNLOAD_NOTE)
    if registered is None:
        return
    name, version = registered
    expected = mlflow.MlflowClient().get_model_version(name, version).tags.get(DIGEST_TAG)
    found, where = folder_digest(folder), f"models:/{name}/{version}"
    if expected is not None and expected != found:
        raise SumsError(folder / SUMS_NAME, f"{where} was registered as {expected}, found {found}")


def read_note(path: Path) -> tuple[str, str] | None:
    """Name and version in MLflow's note; None without a note, or where it names none: the model is no registered version.

    Raises:
        SumsError: the note says something else: then nobody knows what was registered.
    """
    if not path.is_file():
        return None
    data = read_start(path, MAX_NOTE_BYTES + 1)
    try:
        note = parse_plain(data) if len(data) <= MAX_NOTE_BYTES else None
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise SumsError(path, f"is not YAML that can be used: {' '.join(str(exc).split())}") from exc
    name, version = (
        (note.get(key) for key in ("model_name", "model_version")) if isinstance(note, dict) else (None, None)
    )
    if not (isinstance(name, str) and isinstance(version, str)):
        raise SumsError(path, "is none of MLflow's: model_name and model_version are expected")
    return None if name in NO_NAME else (name, version)
