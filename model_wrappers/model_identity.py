"""Which model version a folder holds: what the storage initializer wrote beside it, or what can be computed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from model_wrappers.model_sums import SUMS_NAME, digest_of_sums, read_sums, sums_of_folder
from model_wrappers.regular_file import read_start

IDENTITY_NAME = ".slipway-model.json"
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
        ValueError: the file is there but is too large, or is not ``{name, version, digest, uri}`` of texts.
    """
    path = folder / IDENTITY_NAME
    if not path.is_file():
        return ModelIdentity(folder.resolve().name, "", folder_digest(folder), folder.resolve().as_uri())
    data = read_start(path, MAX_IDENTITY_BYTES + 1)
    if len(data) > MAX_IDENTITY_BYTES:
        raise ValueError(f"{path}: is larger than {MAX_IDENTITY_BYTES:,} bytes: one short JSON object is expected")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"{path}: is not JSON: {exc}") from exc
    keys = ("name", "version", "digest", "uri")
    if not isinstance(document, dict) or not all(isinstance(document.get(key), str) for key in keys):
        raise ValueError(f"{path}: an object with the texts {', '.join(keys)} is expected")
    return ModelIdentity(*(document[key] for key in keys))


def folder_digest(folder: Path) -> str:
    """The digest of SHA256SUMS, or of what it would say. Raises ``SumsError`` where the file is too large to be one."""
    sums = folder / SUMS_NAME
    return digest_of_sums(read_sums(sums) if sums.is_file() else sums_of_folder(folder).encode())
