"""SHA256SUMS: the list of a model folder's files, in the format of coreutils' sha256sum."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from slipway.storage.errors import DigestMismatch

SUMS_NAME = "SHA256SUMS"
DOWNLOAD_NOTE = "registered_model_meta"  # MLflow adds it to what it downloads; it is no file of the model
READ_BYTES = 1024 * 1024
MAX_FILES = 10_000
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<path>.+)")


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of_sums(sums: bytes) -> str:
    """A version's digest: ``sha256:`` and the SHA-256 of its SHA256SUMS."""
    return f"sha256:{hashlib.sha256(sums).hexdigest()}"


def parse_sums(sums: bytes) -> dict[str, str]:
    """Relative POSIX path → hex digest. DigestMismatch when a line is no such pair or a path leaves the folder."""
    files: dict[str, str] = {}
    for number, line in enumerate(sums.decode("utf-8", errors="replace").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        path = PurePosixPath(match["path"]) if match else None
        if match is None or path is None or path.is_absolute() or ".." in path.parts or number > MAX_FILES:
            raise DigestMismatch(f"{SUMS_NAME}:{number}: expected '<64 hex digits>  <relative path>', found {line!r}")
        if str(path) in files:
            raise DigestMismatch(f"{SUMS_NAME}:{number}: {str(path)!r} stands twice")
        files[str(path)] = match["digest"]
    return files


def sums_of_folder(folder: Path) -> bytes:
    """What SHA256SUMS of ``folder`` would say: every file but hidden ones and SHA256SUMS itself, sorted by path."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != SUMS_NAME and not path.name.startswith(".")
    )
    return "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names).encode()


def verify_folder(folder: Path, files: Mapping[str, str], *, where: str) -> None:
    """Compare every listed file with its digest; DigestMismatch names the first that differs, with both digests."""
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise DigestMismatch(f"{where}: {name} is listed in {SUMS_NAME} but is not there")
        found = sha256_of(path)
        if found != expected:
            raise DigestMismatch(f"{where}: {name}: expected sha256:{expected}, found sha256:{found}")
