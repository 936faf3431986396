"""A model folder as the storage initializer leaves it: files, provenance, perhaps a ``metadata.yaml``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway.servers.errors import ModelFolderError

FILE_SCHEME = "file://"
MODEL_URI_VARIABLE = "MLSERVER_MODEL_URI"
DEFAULT_FOLDER = "/mnt/models"
PROVENANCE_NAME = ".slipway-model.json"
PROVENANCE_KEYS = ("name", "version", "digest", "uri")
METADATA_NAME = "metadata.yaml"
MAX_TEXT_BYTES = 1 << 20
"""Of ``metadata.yaml`` and of the provenance."""


@dataclass(frozen=True)
class ModelFolder:
    """One folder; ``of`` takes what a parameter ``model_uri`` says."""

    path: Path

    @classmethod
    def of(cls, model_uri: str | None) -> ModelFolder:
        """A path or ``file://``; else MLSERVER_MODEL_URI, which the controller sets; else ``/mnt/models``."""
        uri = model_uri or os.environ.get(MODEL_URI_VARIABLE, DEFAULT_FOLDER)
        return cls(Path(uri.removeprefix(FILE_SCHEME)))

    def first_of(self, names: Sequence[str]) -> Path:
        """The first of these files that is there. Raises ModelFolderError with what is there instead."""
        for name in names:
            if (self.path / name).is_file():
                return self.path / name
        raise ModelFolderError(f"{self.path}: {' or '.join(names)} is expected, {self._listed()}")

    def _listed(self) -> str:
        if not self.path.is_dir():
            return "there is no such folder"
        found = sorted(item.name for item in self.path.iterdir() if not item.name.startswith("."))
        return f"found {', '.join(found[:8])}{' …' if len(found) > 8 else ''}" if found else "the folder is empty"

    def provenance(self) -> dict[str, str] | None:
        """``{name, version, digest, uri}`` beside the files; None where no initializer has filled the folder.

        Raises ModelFolderError for a file that is not of that form.
        """
        path = self.path / PROVENANCE_NAME
        if not path.is_file():
            return None
        try:
            facts = json.loads(_text(path))
        except ValueError as exc:
            raise ModelFolderError(f"{path}: not JSON: {exc}") from exc
        if not isinstance(facts, dict) or not all(isinstance(facts.get(key), str) for key in PROVENANCE_KEYS):
            raise ModelFolderError(f"{path}: an object with the texts {', '.join(PROVENANCE_KEYS)} is expected")
        return {key: facts[key] for key in PROVENANCE_KEYS}

    def metadata(self) -> dict[str, Any] | None:
        """What ``metadata.yaml`` says, None without one. Raises ModelFolderError where it is no object."""
        path = self.path / METADATA_NAME
        if not path.is_file():
            return None
        try:
            found = yaml.safe_load(_text(path))
        except yaml.YAMLError as exc:
            raise ModelFolderError(f"{path}: not YAML: {exc}") from exc
        if not isinstance(found, dict):
            raise ModelFolderError(
                f"{path}: an object is expected, with name, versions, platform, inputs, outputs, custom"
            )
        return found


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ModelFolderError(f"{path}: larger than {MAX_TEXT_BYTES:,} bytes")
    try:
        return path.read_text()
    except UnicodeDecodeError as exc:
        raise ModelFolderError(f"{path}: not UTF-8 at byte {exc.start}") from exc
