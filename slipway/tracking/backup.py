"""Dumps of MLflow's databases to S3, and back: a folder of its own for each backup, with the digests of what must be in S3.

The dumps are made and loaded by PostgreSQL's own programs, in containers of its image beside this one (mlflow/base). Model
files are not copied: they are in S3 already, where no version is ever written over. Of them a backup says where each is and
its digest.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from slipway.tracking.bucket import Bucket
from slipway.tracking.databases import name_of, refuse_unfinished, refuse_users, registered_models
from slipway.tracking.errors import BackupError, DatabaseError
from slipway.tracking.manifest import (
    MAX_BYTES,
    NAME,
    PACKED,
    DumpFile,
    Manifest,
    by_stamp,
    chosen,
    parse_manifest,
    stamp_of,
    superfluous,
)
from slipway.tracking.schema import refuse_unknown, revision_of
from slipway.tracking.sentences import sentences
from slipway.tracking.settings import Databases, Place

READ_BYTES = 1024 * 1024
Say = Callable[[str], None]


def store(databases: Databases, place: Place, folder: Path, *, say: Say) -> str:
    """Make a backup of the dumps in ``folder``, then an end of backups that are too old; its stamp.

    Raises:
        BackupError: it is not whole; those from before are untouched.
    """
    stamp, bucket = stamp_of(datetime.now(UTC)), Bucket(place.bucket)
    bucket.ensure()
    files = [_pack(_dump(folder, uri)) for uri in _both(databases)]
    models = registered_models(databases.tracking)
    manifest = Manifest(stamp, _revision(databases), tuple(map(_described, files)), models)
    last = folder / NAME
    last.write_text(manifest.render())
    for file in files:
        bucket.put(file, _key(place, stamp, file.name))
        say(f"{file.name}: {file.stat().st_size} bytes")
    bucket.put(last, _key(place, stamp, NAME))
    say(f"{place.uri}/{stamp}: whole, {len(models)} model versions")
    for key in superfluous(_backups(bucket, place), keep=place.keep):
        bucket.remove(key)
        say(f"{key}: removed, {place.keep} newer ones are kept")
    bucket.close()
    return stamp


def fetch(databases: Databases, place: Place, wanted: str, folder: Path, *, say: Say) -> Manifest:
    """Leave the dumps of a backup in ``folder`` for psql to load: all of them, as they were written, and nobody connected.

    Raises:
        BackupError: it is not there or not whole.
        InUse: somebody is connected.
        NewerSchemaError: a newer MLflow made it.
    """
    bucket = Bucket(place.bucket)
    stamp = chosen(_backups(bucket, place), wanted, where=place.uri)
    key = _key(place, stamp, NAME)
    manifest = parse_manifest(bucket.text(key, max_bytes=MAX_BYTES), where=f"s3://{place.bucket}/{key}")
    refuse_unknown(manifest.revision)
    for uri in _both(databases):
        target = _dump(folder, uri)
        packed = _packed(target)
        bucket.get(_key(place, stamp, packed.name), packed)
        _refuse_other(packed, manifest)
        _unpack(packed, target)
    bucket.close()
    for uri in _both(databases):
        refuse_users(uri)
    say(f"{place.uri}/{stamp}: whole and here")
    return manifest


def _revision(databases: Databases) -> str:
    """Without which nobody could say which MLflow the dump is for. Raises BackupError."""
    where = f"database {name_of(databases.tracking)}"
    try:
        with sentences():
            found = revision_of(databases.tracking)
    except DatabaseError as error:
        what = f"the revision of its schema cannot be read ({error})"
        raise BackupError(f"{where}: {what}: PGUSER must be the owner of MLflow's tables") from error
    if found is None:
        raise BackupError(f"{where}: has no revision of MLflow's schema: run the Job mlflow-migrate first")
    return found


def _both(databases: Databases) -> tuple[str, str]:
    return databases.auth, databases.tracking


def _dump(folder: Path, uri: str) -> Path:
    return folder / f"{name_of(uri)}.sql"


def _packed(dump: Path) -> Path:
    return dump.with_name(dump.stem + PACKED)


def _pack(file: Path) -> Path:
    refuse_unfinished(file)
    target = _packed(file)
    with file.open("rb") as source, gzip.GzipFile(target, "wb", mtime=0) as packed:
        shutil.copyfileobj(source, packed, READ_BYTES)
    return target


def _unpack(packed: Path, target: Path) -> None:
    with gzip.open(packed) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, READ_BYTES)
    packed.unlink()


def _described(file: Path) -> DumpFile:
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while piece := source.read(READ_BYTES):
            digest.update(piece)
    return DumpFile(file.name, file.stat().st_size, digest.hexdigest())


def _refuse_other(file: Path, manifest: Manifest) -> None:
    known = {item.name: item for item in manifest.files}
    if file.name not in known:
        raise BackupError(f"backup {manifest.stamp}: has no {file.name}, only {', '.join(sorted(known))}")
    if (found := _described(file)) != known[file.name]:
        raise BackupError(
            f"backup {manifest.stamp}: {file.name} has {found.size_bytes} bytes, SHA-256 {found.sha256}; "
            f"written were {known[file.name].size_bytes}, {known[file.name].sha256}"
        )


def _backups(bucket: Bucket, place: Place) -> Mapping[str, list[str]]:
    return by_stamp(bucket.keys(f"{place.prefix}/" if place.prefix else ""), place.prefix)


def _key(place: Place, stamp: str, name: str) -> str:
    return "/".join(filter(None, (place.prefix, stamp, name)))
