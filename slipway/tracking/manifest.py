"""What one backup says of itself, which of several is whole, and which may go. Nothing here reads or writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from slipway.tracking.errors import BackupError

NAME = "backup.json"
"""Written last: a backup without it is not whole."""
PACKED = ".sql.gz"
FORMAT = 1
MAX_BYTES = 64 * 1024 * 1024
"""Of a manifest, written and read: some 200 000 versions."""
STAMP = re.compile(r"\d{8}T\d{6}Z")
LATEST = "latest"


@dataclass(frozen=True)
class DumpFile:
    """One file of a backup. ``sha256`` in hex digits."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of the dump: where its files are, and what they must be. For people: nothing compares it."""

    name: str
    version: str
    source: str
    digest: str


@dataclass(frozen=True)
class Manifest:
    """``revision`` is the schema's of MLflow's database."""

    stamp: str
    revision: str
    files: tuple[DumpFile, ...]
    models: tuple[ModelVersion, ...]

    def render(self) -> str:
        """Raises BackupError where it is too large to be read again."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"
        if len(text) > MAX_BYTES:  # ASCII, as json writes it
            raise BackupError(
                f"{NAME} would have {len(text)} bytes for {len(self.models)} model versions, and {MAX_BYTES} are read: "
                "delete versions that nobody needs"
            )
        return text


def stamp_of(moment: datetime) -> str:
    """The name of a backup: UTC, to the second, so that names sort as time does."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def parse_manifest(text: str, *, where: str) -> Manifest:
    """Raises BackupError."""
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise BackupError(f"{where}: format {found['format']!r}; this release reads {FORMAT}")
        return Manifest(
            str(found["stamp"]),
            str(found["revision"]),
            tuple(DumpFile(str(item["name"]), int(item["size_bytes"]), str(item["sha256"])) for item in found["files"]),
            tuple(ModelVersion(**item) for item in found["models"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{where}: is no backup's {NAME}: {error}") from error


def by_stamp(keys: Iterable[str], prefix: str) -> dict[str, list[str]]:
    """The backups below a prefix → their keys. What no backup writes is left out, and so is never removed."""
    found: dict[str, list[str]] = {}
    for key in keys:
        stamp, slash, rest = key.removeprefix(f"{prefix}/" if prefix else "").partition("/")
        if slash and "/" not in rest and (rest == NAME or rest.endswith(PACKED)) and STAMP.fullmatch(stamp):
            found.setdefault(stamp, []).append(key)
    return found


def whole(backups: Mapping[str, Sequence[str]]) -> list[str]:
    """The stamps of those that came to their end, oldest first."""
    return sorted(stamp for stamp, keys in backups.items() if any(key.endswith(f"/{NAME}") for key in keys))


def chosen(backups: Mapping[str, Sequence[str]], wanted: str, *, where: str) -> str:
    """The stamp that ``wanted`` means: ``latest``, or itself. Raises BackupError."""
    known = whole(backups)
    if not known:
        raise BackupError(f"{where}: no whole backup there")
    if wanted == LATEST:
        return known[-1]
    if wanted not in known:
        raise BackupError(f"{where}: no whole backup {wanted!r}; there are {', '.join(known[-5:])}")
    return wanted


def superfluous(backups: Mapping[str, Sequence[str]], *, keep: int) -> list[str]:
    """Keys to remove, in order: of every backup older than the ``keep`` newest whole ones, its manifest first.

    A backup that never came to its end goes with those of its age: a younger one may still be under way.
    """
    kept = whole(backups)[-keep:]
    if not kept:
        return []
    old = sorted(stamp for stamp in backups if stamp < kept[0])
    return [key for stamp in old for key in sorted(backups[stamp], key=lambda key: (not key.endswith(f"/{NAME}"), key))]
