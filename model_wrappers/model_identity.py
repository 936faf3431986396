"""Which model version a folder holds: what the storage initializer wrote beside it, or what can be computed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

IDENTITY_NAME = ".slipway-model.json"
SUMS_NAME = "SHA256SUMS"
MAX_IDENTITY_BYTES = 64 << 10


@dataclass(frozen=True)
class ModelIdentity:
    """``digest`` is ``sha256:`` and the SHA-256 of the folder's SHA256SUMS."""

    name: str
    version: str
    digest: str
    uri: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def load_identity(folder: Path) -> ModelIdentity:
    """Read ``.slipway-model.json``; without it: the folder's name, no version, and the digest of its files.

    Raises:
        ValueError: the file is there but is not ``{name, version, digest, uri}`` of texts.
    """
    path = folder / IDENTITY_NAME
    if not path.is_file():
        return ModelIdentity(folder.resolve().name, "", folder_digest(folder), folder.resolve().as_uri())
    with path.open("rb") as file:
        data = file.read(MAX_IDENTITY_BYTES + 1)
    try:
        document = json.loads(data)
    except ValueError as exc:
        raise ValueError(f"{path}: is not JSON: {exc}") from exc
    keys = ("name", "version", "digest", "uri")
    if not isinstance(document, dict) or not all(isinstance(document.get(key), str) for key in keys):
        raise ValueError(f"{path}: an object with the texts {', '.join(keys)} is expected")
    return ModelIdentity(*(document[key] for key in keys))


def folder_digest(folder: Path) -> str:
    """``sha256:`` of SHA256SUMS, or of what it would say: ``<hex>  <path>`` a line, sorted by path."""
    sums = folder / SUMS_NAME
    if sums.is_file():
        return f"sha256:{hashlib.sha256(sums.read_bytes()).hexdigest()}"
    lines = [f"{_file_sha256(folder / name)}  {name}\n" for name in _files(folder)]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _files(folder: Path) -> list[str]:
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in paths if name not in (IDENTITY_NAME, SUMS_NAME))


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
