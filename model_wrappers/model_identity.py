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
    """The digest of SHA256SUMS, or of what it would say."""
    sums = folder / SUMS_NAME
    return digest_of_sums(sums.read_bytes() if sums.is_file() else sums_of_folder(folder).encode())


def digest_of_sums(sums: bytes) -> str:
    """A version's digest: ``sha256:`` and the SHA-256 of its SHA256SUMS."""
    return f"sha256:{hashlib.sha256(sums).hexdigest()}"


def sums_of_folder(folder: Path) -> str:
    """What SHA256SUMS says: ``<hex digest>  <relative path>`` a line, sorted by path; not itself, not the identity."""
    return "".join(f"{_file_sha256(folder / name)}  {name}\n" for name in _files(folder))


def _files(folder: Path) -> list[str]:
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in paths if name not in (IDENTITY_NAME, SUMS_NAME))


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
