"""The files of an image and its digest: the same sources give the same digest on any machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from slipway.onebox.images.distribution import distribution_files
from slipway.onebox.images.errors import SourceError
from slipway.onebox.images.spec import ImageSpec

MAX_FILES = 20_000
MAX_BYTES = 1024 * 1024 * 1024
MAX_LOCK_BYTES = 16 * 1024 * 1024
LEFT_OUT = frozenset({"__pycache__", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv", "node_modules"})


@dataclass(frozen=True)
class SnapshotFile:
    """One file: ``target`` is its path below the image root."""

    target: str
    source: Path
    sha256: str
    size_bytes: int
    is_executable: bool


@dataclass(frozen=True)
class Snapshot:
    """``lock`` is the text of the requirements; ``lock_digest`` also covers what else decides the environment.

    That is the interpreter it is installed for, and the pins that pip adds.
    """

    spec: ImageSpec
    files: tuple[SnapshotFile, ...]
    lock: str
    lock_digest: str
    digest: str


def take_snapshot(spec: ImageSpec, *, roots: Sequence[Path]) -> Snapshot:
    """Read every file once. ``roots`` are the folders in which ``packages`` are looked for, first match wins.

    Raises SourceError.
    """
    files: dict[str, SnapshotFile] = {}
    total = 0
    for target, source in _sources(spec, roots):
        files[target] = _file(target, source)
        total += files[target].size_bytes
        if len(files) > MAX_FILES or total > MAX_BYTES:
            raise SourceError(f"{spec.folder}: an image has at most {MAX_FILES} files and {MAX_BYTES} bytes")
    lock = _read_lock(spec)
    lock_digest = _sha256(json.dumps([interpreter(), lock, *spec.unhashed]).encode())
    ordered = tuple(files[target] for target in sorted(files))
    return Snapshot(spec, ordered, lock, lock_digest, f"sha256:{_digest(spec, ordered, lock_digest)}")


def interpreter() -> str:
    """What binary wheels depend on: implementation, minor version, machine."""
    return f"{sys.implementation.cache_tag}-{sys.platform}-{platform.machine()}"


def _digest(spec: ImageSpec, files: tuple[SnapshotFile, ...], lock_digest: str) -> str:
    body = {
        "name": spec.name,
        "entrypoint": spec.entrypoint,
        "env": dict(sorted(spec.env.items())),
        "lock": lock_digest,
        "files": [[file.target, file.sha256, file.is_executable] for file in files],
    }
    return _sha256(json.dumps(body, sort_keys=True).encode())


def _sources(spec: ImageSpec, roots: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    for package in spec.packages:
        yield from _package(package, roots, folder=spec.folder)
        yield from distribution_files(package)
    for name in spec.sources:
        origin = (spec.folder / name).resolve()
        if not origin.is_relative_to(spec.folder.resolve()):
            raise SourceError(f"{spec.folder}: sources: {name!r} leaves the folder: use `packages` for shared code")
        if not origin.exists():
            raise SourceError(f"{spec.folder}: sources: {name!r} does not exist")
        yield from _walk(origin, PurePosixPath(origin.relative_to(spec.folder.resolve())))


def _package(package: str, roots: Sequence[Path], *, folder: Path) -> Iterator[tuple[str, Path]]:
    """The package's files, and the ``__init__.py`` of each parent."""
    parts = package.split(".")
    for root in roots:
        origin = root.joinpath(*parts)
        if not (origin.is_dir() or origin.with_suffix(".py").is_file()):
            continue
        for depth in range(1, len(parts)):
            parent = root.joinpath(*parts[:depth]) / "__init__.py"
            if parent.is_file():
                yield "/".join((*parts[:depth], "__init__.py")), parent
        if origin.is_dir():
            yield from _walk(origin, PurePosixPath(*parts))
        else:
            yield "/".join(parts) + ".py", origin.with_suffix(".py")
        return
    raise SourceError(f"{folder}: packages: {package!r} was not found below {', '.join(map(str, roots))}")


def _walk(origin: Path, target: PurePosixPath) -> Iterator[tuple[str, Path]]:
    if origin.is_file():
        yield str(target), origin
        return
    for folder, names, files in os.walk(origin):
        names[:] = sorted(name for name in names if name not in LEFT_OUT and not name.endswith(".egg-info"))
        here = target / Path(folder).relative_to(origin)
        for name in sorted(files):
            if not name.endswith(".pyc"):
                yield str(here / name), Path(folder) / name


def _file(target: str, source: Path) -> SnapshotFile:
    try:
        info = source.stat()
        if not stat.S_ISREG(info.st_mode):
            raise SourceError(f"{source}: not a plain file: an image holds files only")
        with source.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise SourceError(f"{source}: {exc.strerror}") from exc
    return SnapshotFile(target, source, sha256, info.st_size, bool(info.st_mode & stat.S_IXUSR))


def _read_lock(spec: ImageSpec) -> str:
    try:
        if spec.requirements.stat().st_size > MAX_LOCK_BYTES:
            raise SourceError(f"{spec.requirements}: larger than {MAX_LOCK_BYTES} bytes")
        return spec.requirements.read_text()
    except OSError as exc:
        raise SourceError(f"{spec.folder}: requirements: {spec.requirements}: {exc.strerror}") from exc


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
