"""A model of any URI as a detector, once every byte of the download is the one that was saved."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml

from model_wrappers import darknet
from model_wrappers.mlflow_darknet.registration import DIGEST_TAG
from model_wrappers.model_identity import folder_digest
from model_wrappers.model_sums import DOWNLOAD_NOTE, SUMS_NAME, SumsError, refuse_unlisted, verify_listed


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

    note = folder / DOWNLOAD_NOTE
    version = yaml.safe_load(note.read_text()) if note.is_file() else {}
    if not version.get("model_name"):
        return
    tags = mlflow.MlflowClient().get_model_version(version["model_name"], version["model_version"]).tags
    expected, found = tags.get(DIGEST_TAG), folder_digest(folder)
    if expected is not None and expected != found:
        where = f"models:/{version['model_name']}/{version['model_version']}"
        raise SumsError(folder / SUMS_NAME, f"{where} was registered as {expected}, found {found}")
