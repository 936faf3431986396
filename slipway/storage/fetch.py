"""A model URI → a verified folder in the cache."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipway.storage.cache import ModelCache
from slipway.storage.checksums import SUMS_NAME, digest_of_sums, parse_sums, sums_of_folder, verify_folder
from slipway.storage.errors import DigestMismatch, SourceNotFound, StorageUnavailable, UnsupportedUri
from slipway.storage.s3 import Progress, RemoteFile, S3Folder

_log = logging.getLogger(__name__)

SCHEMES = "models:/NAME/VERSION, models:/NAME@ALIAS, s3://BUCKET/FOLDER, file:///FOLDER"


@dataclass(frozen=True)
class Wanted:
    """What a Pod asked for: ``source`` is the place, ``digest`` (``sha256:…``) what must be there, if known."""

    uri: str
    source: str
    digest: str | None = None


@dataclass(frozen=True)
class Fetched:
    """A verified folder. ``note`` says how it was obtained."""

    folder: Path
    digest: str
    note: str


def fetch(wanted: Wanted, cache: ModelCache, *, progress: Progress) -> Fetched:
    """Verified bytes of ``wanted`` or a StorageError.

    A cached folder is used when the store is away or still holds the objects the folder was made from. When the
    store answers with other objects, they are read and verified: a changed object is refused, not papered over.
    """
    with cache.lock(wanted.digest or wanted.uri):
        if local := _local_path(wanted.source):
            return _fetch_local(local, wanted, cache)
        return _fetch_s3(wanted, cache, progress=progress)


def _local_path(source: str) -> Path | None:
    parts = urlsplit(source)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(source) if source.startswith("/") else None


def _fetch_local(path: Path, wanted: Wanted, cache: ModelCache) -> Fetched:
    if not path.is_dir():
        raise SourceNotFound(f"{wanted.uri}: {path} is not a folder")
    incoming = cache.make_incoming()
    sizes = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    for name, file in sizes.items():
        target = incoming / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return _verified(incoming, wanted, cache, etags={}, note=f"copied from {path}")


def _fetch_s3(wanted: Wanted, cache: ModelCache, *, progress: Progress) -> Fetched:
    if urlsplit(wanted.source).scheme != "s3":
        raise UnsupportedUri(f"{wanted.uri!r} cannot be read here; these can: {SCHEMES}")
    store = S3Folder(wanted.source)
    digest = wanted.digest or cache.pointed(wanted.uri)
    cached = _cached(digest, cache) if digest else None
    try:
        files = store.files()
    except StorageUnavailable as exc:
        if cached is None:
            raise
        return Fetched(cached.folder, cached.digest, f"from the verified cache; the store is away ({exc})")
    etags = {file.path: file.etag for file in files}
    if cached and (origin := cache.origin(cached.digest)) and origin["etags"] == etags:
        return cached
    return _download(store, files, wanted, cache, progress=progress)


def _cached(digest: str, cache: ModelCache) -> Fetched | None:
    """The cached folder, verified once more; a folder that went bad is dropped."""
    if cache.origin(digest) is None:
        return None
    folder = cache.folder(digest)
    try:
        _verify(folder, digest)
    except DigestMismatch as exc:
        _log.warning("the cached copy changed and is dropped: %s", exc)
        cache.drop(digest)
        return None
    return Fetched(folder, digest, "from the verified cache")


def _verify(folder: Path, digest: str) -> None:
    sums = (folder / SUMS_NAME).read_bytes()
    if digest_of_sums(sums) != digest:
        raise DigestMismatch(f"{folder}: expected {digest}, found {digest_of_sums(sums)}")
    verify_folder(folder, parse_sums(sums), where=str(folder))


def _download(
    store: S3Folder, files: list[RemoteFile], wanted: Wanted, cache: ModelCache, *, progress: Progress
) -> Fetched:
    incoming = cache.make_incoming()
    store.download(files, incoming, progress=progress)
    etags = {file.path: file.etag for file in files}
    size = sum(file.size_bytes for file in files)
    return _verified(incoming, wanted, cache, etags=etags, note=f"downloaded {size:,} bytes from {store.uri}")


def _verified(incoming: Path, wanted: Wanted, cache: ModelCache, *, etags: dict[str, str], note: str) -> Fetched:
    """Check ``incoming`` against its own SHA256SUMS and against the wanted digest, then store it."""
    sums_path = incoming / SUMS_NAME
    if not sums_path.is_file():
        sums_path.write_bytes(sums_of_folder(incoming))
    sums = sums_path.read_bytes()
    found = digest_of_sums(sums)
    listed = parse_sums(sums)
    verify_folder(incoming, listed, where=wanted.uri)
    present = {line.partition("  ")[2] for line in sums_of_folder(incoming).decode().splitlines()}
    if extra := sorted(present - set(listed)):
        raise DigestMismatch(f"{wanted.uri}: {extra[0]} is there but not listed in {SUMS_NAME}")
    if wanted.digest and found != wanted.digest:
        raise DigestMismatch(f"{wanted.uri}: registered as {wanted.digest}, {wanted.source} holds {found}")
    folder = cache.store(incoming, found, origin={"source": wanted.source, "etags": etags})
    cache.point(wanted.uri, found)
    return Fetched(folder, found, note)
