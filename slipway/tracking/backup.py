"""MLflow's databases to S3, and back: a folder of its own for each backup, with the digests of what must be in S3.

Model files are not copied: they are in S3 already, where no version is ever written over. What a backup says of them is
where each is and its digest, so that a registry that came back can be held against the bucket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg2

from slipway.tracking.bucket import Bucket
from slipway.tracking.databases import address, dump, load, name_of, refuse_users
from slipway.tracking.errors import BackupError
from slipway.tracking.manifest import (
    NAME,
    DumpFile,
    Manifest,
    ModelVersion,
    by_stamp,
    chosen,
    parse_manifest,
    stamp_of,
    superfluous,
)
from slipway.tracking.schema import refuse_unknown, revision_of
from slipway.tracking.settings import Databases, Place

READ_BYTES = 1024 * 1024
DIGEST_TAG = "slipway.digest"
VERSIONS = """
select v.name, v.version, coalesce(v.source, ''), t.value from model_versions v
join model_version_tags t on t.name = v.name and t.version = v.version and t.key = %s order by v.name, v.version
"""
Say = Callable[[str], None]


def make(databases: Databases, place: Place, *, say: Say) -> str:
    """A new backup, then an end of those that are too old; its stamp.

    Accounts and permissions are dumped before what they are given on: each that is kept is one on something that is.

    Raises:
        BackupError: it is not whole; those from before are untouched.
    """
    stamp = stamp_of(datetime.now(UTC))
    bucket = Bucket(place.bucket)
    with TemporaryDirectory(prefix="slipway-backup-") as folder:
        bucket.ensure()
        files = []
        for uri in (databases.auth, databases.tracking):
            file = Path(folder) / f"{name_of(uri)}.dump"
            dump(uri, file)
            bucket.put(file, _key(place, stamp, file.name))
            files.append(_described(file))
            say(f"{file.name}: {file.stat().st_size} bytes")
        manifest = Manifest(stamp, revision_of(databases.tracking) or "", tuple(files), _models(databases.tracking))
        last = Path(folder) / NAME
        last.write_text(manifest.render())
        bucket.put(last, _key(place, stamp, NAME))
    say(f"{place.uri}/{stamp}: whole, {len(manifest.models)} model versions")
    for key in superfluous(_backups(bucket, place), keep=place.keep):
        bucket.remove(key)
        say(f"{key}: removed, {place.keep} newer ones are kept")
    bucket.close()
    return stamp


def restore(databases: Databases, place: Place, wanted: str, *, say: Say) -> Manifest:
    """Both databases become what a backup says. Nothing is touched before all of it is here and is what was written.

    Raises:
        BackupError: it is not there or not whole.
        InUse: somebody is connected.
        NewerSchemaError: a newer MLflow made it.
    """
    bucket = Bucket(place.bucket)
    stamp = chosen(_backups(bucket, place), wanted, where=place.uri)
    key = _key(place, stamp, NAME)
    manifest = parse_manifest(bucket.text(key), where=f"s3://{place.bucket}/{key}")
    refuse_unknown(manifest.revision)
    with TemporaryDirectory(prefix="slipway-restore-") as folder:
        files = {}
        for uri in (databases.auth, databases.tracking):
            files[uri] = Path(folder) / f"{name_of(uri)}.dump"
            bucket.get(_key(place, stamp, files[uri].name), files[uri])
            _refuse_other(files[uri], manifest)
        bucket.close()
        for uri in files:
            refuse_users(uri)
        for uri, file in files.items():
            load(uri, file)
            say(f"{name_of(uri)}: as it was at {stamp}")
    return manifest


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


def _models(uri: str) -> tuple[ModelVersion, ...]:
    """Every version that has a digest."""
    connection = psycopg2.connect(address(uri))
    try:
        with connection.cursor() as cursor:
            cursor.execute(VERSIONS, (DIGEST_TAG,))
            return tuple(ModelVersion(name, str(version), source, digest) for name, version, source, digest in cursor)
    finally:
        connection.close()


def _backups(bucket: Bucket, place: Place) -> Mapping[str, list[str]]:
    return by_stamp(bucket.keys(f"{place.prefix}/" if place.prefix else ""), place.prefix)


def _key(place: Place, stamp: str, name: str) -> str:
    return "/".join(filter(None, (place.prefix, stamp, name)))
