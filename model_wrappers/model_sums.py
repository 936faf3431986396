"""SHA256SUMS, the list of a model folder's files in the format of coreutils' sha256sum: made, read and compared."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from model_wrappers.darknet.provenance import file_sha256
from model_wrappers.regular_file import read_start

SUMS_NAME = "SHA256SUMS"
MAX_SUMS_BYTES = 4 << 20  # some 20,000 files with paths of 140 characters
DOWNLOAD_NOTE = "registered_model_meta"  # MLflow leaves it in the copy that it downloads of a registered version
PYTHON_CACHE = "__pycache__"

_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<path>.+)")


class SumsError(ValueError):
    """A SHA256SUMS that is none, or files that are not those it lists. Attribute: ``path``."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


def digest_of_sums(sums: bytes) -> str:
    """A version's digest: ``sha256:`` and the SHA-256 of its SHA256SUMS."""
    return f"sha256:{hashlib.sha256(sums).hexdigest()}"


def sums_of_folder(folder: Path) -> str:
    """What SHA256SUMS says: ``<hex digest>  <relative path>`` a line, sorted by path; not itself, no hidden file."""
    return "".join(f"{file_sha256(folder / name)}  {name}\n" for name in _files(folder))


def _files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != SUMS_NAME and not path.name.startswith(".")
    )


def read_sums(path: Path) -> bytes:
    """The bytes of a SHA256SUMS. Raises ``SumsError`` where it is larger than ``MAX_SUMS_BYTES``."""
    data = read_start(path, MAX_SUMS_BYTES + 1)
    if len(data) > MAX_SUMS_BYTES:
        raise SumsError(path, f"is larger than {MAX_SUMS_BYTES:,} bytes: the sums of a model folder are expected")
    return data


def parse_sums(data: bytes, *, path: Path) -> dict[str, str]:
    """Relative path → hex digest. Raises ``SumsError`` with the line that is no such pair, leaves the folder or repeats one."""
    files: dict[str, str] = {}
    for number, line in enumerate(data.decode(errors="replace").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        name = PurePosixPath(match["path"]) if match else None
        if match is None or name is None or name.is_absolute() or ".." in name.parts:
            raise SumsError(path, f"line {number}: '<64 hex digits>  <relative path>' is expected, found {line!r}")
        if str(name) in files:
            raise SumsError(path, f"line {number}: {str(name)!r} stands twice")
        files[str(name)] = match["digest"]
    return files


def verify_listed(folder: Path) -> dict[str, str]:
    """Compare every file that SHA256SUMS lists; the list. Raises ``SumsError`` naming the first that differs."""
    path = folder / SUMS_NAME
    if not path.is_file():
        raise SumsError(path, "is not there: a model folder of the flavour has one, over all of its files")
    listed = parse_sums(read_sums(path), path=path)
    for name, expected in listed.items():
        file = folder / name
        if not file.is_file():
            raise SumsError(file, f"is listed in {SUMS_NAME} but is not there")
        found = file_sha256(file)
        if found != expected:
            raise SumsError(file, f"expected sha256:{expected}, found sha256:{found}")
    return listed


def refuse_unlisted(folder: Path, listed: Mapping[str, str]) -> None:
    """Raise ``SumsError`` for a file that nobody vouches for; MLflow's note and Python's caches are no files of the model."""
    for name in _files(folder):
        if name not in listed and name != DOWNLOAD_NOTE and PYTHON_CACHE not in PurePosixPath(name).parts:
            raise SumsError(folder / name, f"is there but is not listed in {SUMS_NAME}")
