"""A model URI → a verified folder in the cache."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipway.storage.cache import ModelCache
from slipway.storage.checksums import (
    DIGEST,
    DOWNLOAD_NOTE,
    MAX_FILES,
    SUMS_NAME,
    digest_of_sums,
    parse_sums,
    sums_of_folder,
    verify_folder,
)
from slipway.storage.errors import DigestMismatch, SourceNotFound, StorageError, StorageUnavailable, UnsupportedUri
from slipway.storage.remotes import place_of
from slipway.storage.s3 import Progress, RemoteFile, S3Folder

_log = logging.getLogger(__name__)

SPARE_BYTES = 256 * 1024**2
"""Of the cache's disk: what no model may take."""

SCHEMES = (
    "models:/NAME/VERSION, models:/NAME@ALIAS, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, file:///FOLDER, "
    "REMOTE:BUCKET/FOLDER with RCLONE_CONFIG_REMOTE_* in the node's secret"
)


@dataclass(frozen=True)
class Wanted:
    """What a Pod asked for: ``source`` is the place, ``digest`` (``sha256:…``) what must be there, if known."""

    uri: str
    source: str
    digest: str | None = None

    def __post_init__(self) -> None:
        if self.digest is not None and not DIGEST.fullmatch(self.digest):
            raise StorageError(f"{self.uri}: the digest {self.digest!r} is not sha256: and 64 hexadecimal digits")

    @property
    def key(self) -> str:
        """Who fetches the same thing waits for the first one."""
        return self.digest or self.uri


@dataclass(frozen=True)
class Fetched:
    """A verified folder. ``note`` says how it was obtained."""

    folder: Path
    digest: str
    note: str


Use = Callable[[Fetched], None]
"""Called while no other process can replace or drop the folder."""


def fetch(wanted: Wanted, cache: ModelCache, *, progress: Progress, use: Use = lambda _: None) -> Fetched:
    """Verified bytes of ``wanted``, or a StorageError (OSError: the cache's disk).

    A cached folder is used when the store is away or still holds the objects the folder was made from. When the
    store answers with other objects, they are read and verified: a changed object is refused, not papered over.
    """
    with cache.lock(wanted.key):
        if local := _local_path(wanted.source):
            return _fetch_local(local, wanted, cache, use)
        return _fetch_s3(wanted, cache, use, progress=progress)


def _local_path(source: str) -> Path | None:
    parts = urlsplit(source)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(source) if source.startswith("/") else None


def _fetch_local(path: Path, wanted: Wanted, cache: ModelCache, use: Use) -> Fetched:
    if not path.is_dir():
        raise SourceNotFound(f"{wanted.uri}: {path} is not a folder")
    if cache.root.resolve().is_relative_to(path.resolve()):  # a copy of it would hold itself, and again
        raise UnsupportedUri(
            f"{wanted.uri}: the model cache {cache.root} lies in it: the folder of one model is expected"
        )
    files = _files_of(path, wanted)
    _check_room(sum(file.stat().st_size for file in files), wanted, cache)
    with cache.incoming(wanted.key) as incoming:
        for file in files:
            target = incoming / file.relative_to(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        return _keep(incoming, wanted, cache, use, etags={}, note=f"copied from {path}")


def _files_of(folder: Path, wanted: Wanted) -> list[Path]:
    files: list[Path] = []
    for file in folder.rglob("*"):
        if file.is_file():
            files.append(file)
        elif file.is_symlink():
            name = file.relative_to(folder)
            raise SourceNotFound(f"{wanted.uri}: {name} is a link to no file: a model folder holds files")
        if len(files) > MAX_FILES:
            raise StorageError(f"{wanted.uri} holds more than {MAX_FILES} files: the folder of one model is expected")
    return files


def _check_room(size_bytes: int, wanted: Wanted, cache: ModelCache) -> None:
    """Before anything is written: a model that does not fit must not take the disk of all others."""
    free_bytes = shutil.disk_usage(cache.root).free
    if size_bytes > free_bytes - SPARE_BYTES:
        raise StorageError(
            f"{wanted.uri} has {size_bytes:,} bytes; the disk of the model cache {cache.root} has {free_bytes:,} left, "
            f"of which {SPARE_BYTES:,} stay free"
        )


def _fetch_s3(wanted: Wanted, cache: ModelCache, use: Use, *, progress: Progress) -> Fetched:
    place = place_of(wanted.source, os.environ)
    if place is None:
        raise UnsupportedUri(f"{wanted.uri!r} cannot be read here; these can: {SCHEMES}")
    store = S3Folder(wanted.source, place)
    away: StorageUnavailable | None = None
    files: list[RemoteFile] = []
    try:
        files = store.files()
    except StorageUnavailable as exc:
        away = exc
    etags = {file.path: file.etag for file in files}
    asked = f"{wanted.uri} of {store.asked}"
    if digest := wanted.digest or cache.pointed(asked):
        with _locked(digest, wanted, cache):
            if cached := _cached(digest, cache, etags=etags, away=away):
                cache.touch(digest)
                use(cached)
                return cached
    if away:
        raise away
    size = sum(file.size_bytes for file in files)
    _check_room(size, wanted, cache)
    with cache.incoming(wanted.key) as incoming:
        store.download(files, incoming, progress=progress)
        note = f"downloaded {size:,} bytes from {store.uri}"
        return _keep(incoming, wanted, cache, use, etags=etags, note=note, asked=asked)


def _locked(digest: str, wanted: Wanted, cache: ModelCache) -> contextlib.AbstractContextManager[None]:
    """The lock of a cached folder, unless it is the one that ``fetch`` holds."""
    return contextlib.nullcontext() if digest == wanted.key else cache.lock(digest)


def _cached(
    digest: str, cache: ModelCache, *, etags: dict[str, str], away: StorageUnavailable | None
) -> Fetched | None:
    """The cached folder, verified once more, if the store holds no other objects; a folder that went bad is dropped."""
    origin = cache.origin(digest)
    if origin is None:
        return None
    folder = cache.folder(digest)
    try:
        _verify(folder, digest)
    except (DigestMismatch, OSError) as exc:
        _log.warning("the cached copy changed and is dropped: %s", exc)
        cache.drop(digest)
        return None
    if away:
        return Fetched(folder, digest, f"from the verified cache; the store is away ({away})")
    return Fetched(folder, digest, "from the verified cache") if origin.get("etags") == etags else None


def _verify(folder: Path, digest: str) -> None:
    sums = (folder / SUMS_NAME).read_bytes()
    if digest_of_sums(sums) != digest:
        raise DigestMismatch(f"{folder}: expected {digest}, found {digest_of_sums(sums)}")
    verify_folder(folder, parse_sums(sums), where=str(folder))


def _keep(
    incoming: Path,
    wanted: Wanted,
    cache: ModelCache,
    use: Use,
    *,
    etags: dict[str, str],
    note: str,
    asked: str = "",
) -> Fetched:
    """Check ``incoming`` against its own SHA256SUMS and against the wanted digest, then store it.

    ``asked``: the server that gave it, where one may be away next time.
    """
    sums_path = incoming / SUMS_NAME
    if not sums_path.is_file():
        sums_path.write_bytes(sums_of_folder(incoming))
    sums = sums_path.read_bytes()
    found = digest_of_sums(sums)
    listed = parse_sums(sums)
    verify_folder(incoming, listed, where=wanted.uri)
    present = {line.partition("  ")[2] for line in sums_of_folder(incoming).decode().splitlines()}
    if DOWNLOAD_NOTE in present - set(listed):
        (incoming / DOWNLOAD_NOTE).unlink()
        present.discard(DOWNLOAD_NOTE)
    if extra := sorted(present - set(listed)):
        raise DigestMismatch(f"{wanted.uri}: {extra[0]} is there but not listed in {SUMS_NAME}")
    if wanted.digest and found != wanted.digest:
        raise DigestMismatch(f"{wanted.uri}: registered as {wanted.digest}, {wanted.source} holds {found}")
    with _locked(found, wanted, cache):
        folder = cache.store(incoming, found, origin={"source": wanted.source, "etags": etags})
        if asked:
            cache.point(asked, found)
        fetched = Fetched(folder, found, note)
        use(fetched)
        cache.trim()
    return fetched
