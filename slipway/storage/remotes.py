"""Where a URI's objects are: remotes as Seldon's initializer (rclone) knows them from its environment (contract 2.5).

``<remote>:<path>`` and ``<remote>://<path>`` name a remote, whose options are the variables ``RCLONE_CONFIG_<REMOTE>_<OPTION>``
of the node's secret. ``s3`` without such variables is the S3 of the usual AWS_* variables, ``gs`` without them Google's
public buckets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway.storage.errors import UnsupportedUri

GOOGLE = "google cloud storage"
GOOGLE_ENDPOINT = "https://storage.googleapis.com"  # its XML interface speaks S3's dialect
BUILT_IN = {"GS": {"TYPE": GOOGLE, "ANONYMOUS": "true"}}
S3_OPTIONS = (
    "TYPE",
    "PROVIDER",
    "ENV_AUTH",
    "ACCESS_KEY_ID",
    "SECRET_ACCESS_KEY",
    "SESSION_TOKEN",
    "ENDPOINT",
    "REGION",
)
GOOGLE_OPTIONS = ("TYPE", "ANONYMOUS", "ENDPOINT")
IGNORED = ("ACL", "LOCATION_CONSTRAINT", "STORAGE_CLASS", "SERVER_SIDE_ENCRYPTION", "BUCKET_ACL", "NO_CHECK_BUCKET")
"""Options of writing, which nothing here does."""
TRUE = "true"
OTHER_SCHEMES = frozenset({"http", "https", "models", "pvc", "file"})
"""Never a remote's name."""

_SOURCE = re.compile(r"(?P<remote>[A-Za-z0-9_][A-Za-z0-9_.+@ -]*):/*(?P<path>.*)", re.DOTALL)


@dataclass(frozen=True)
class S3Access:
    """How a bucket is reached; empty fields: as the AWS_* variables say. Keys are never shown."""

    endpoint: str = ""
    region: str = ""
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    is_anonymous: bool = False


@dataclass(frozen=True)
class Place:
    """A folder of a bucket."""

    bucket: str
    prefix: str
    access: S3Access


def place_of(source: str, env: Mapping[str, str]) -> Place | None:
    """Where ``source`` leads; None where it names no remote that is known.

    Raises UnsupportedUri for a remote of another type, or with options that cannot be honoured; it names them.
    """
    match = _SOURCE.fullmatch(source)
    if match is None or match["remote"].lower() in OTHER_SCHEMES:
        return None
    remote = match["remote"].upper()
    options = _options(remote, env) or BUILT_IN.get(remote)
    if options is None and remote != "S3":
        return None
    access = S3Access() if options is None else _access(remote, options)
    bucket, _, prefix = match["path"].partition("/")
    return Place(bucket, prefix.strip("/"), access)


def _options(remote: str, env: Mapping[str, str]) -> dict[str, str]:
    """What follows ``RCLONE_CONFIG_<remote>_``; where there is a remote ``<remote>_EU`` too, its options are its own."""
    start = f"RCLONE_CONFIG_{remote}_"
    found = {name.removeprefix(start): value for name, value in env.items() if name.startswith(start) and value}
    others = tuple(name.removesuffix("TYPE") for name in found if name.endswith("_TYPE"))
    return {name: value for name, value in found.items() if not name.startswith(others)}


def _access(remote: str, options: Mapping[str, str]) -> S3Access:
    where, kind = f"RCLONE_CONFIG_{remote}_", options.get("TYPE", "")
    known = {"s3": S3_OPTIONS, GOOGLE: GOOGLE_OPTIONS}.get(kind)
    if known is None:
        raise UnsupportedUri(f"{where}TYPE={kind!r} cannot be read here; s3 can, and {GOOGLE} without a login")
    if others := sorted(options.keys() - {*known, *IGNORED}):
        raise UnsupportedUri(
            f"{', '.join(where + name for name in others)}: not honoured here; known: {', '.join(known)}"
        )
    if kind == GOOGLE:
        if options.get("ANONYMOUS", "").lower() != TRUE:
            raise UnsupportedUri(f"{where}ANONYMOUS=true is needed: buckets of Google are read without a login only")
        return S3Access(endpoint=options.get("ENDPOINT", GOOGLE_ENDPOINT), region="auto", is_anonymous=True)
    return S3Access(
        endpoint=_url(options.get("ENDPOINT", "")),
        region=options.get("REGION", ""),
        key=options.get("ACCESS_KEY_ID", ""),
        secret=options.get("SECRET_ACCESS_KEY", ""),
        token=options.get("SESSION_TOKEN", ""),
        is_anonymous="ACCESS_KEY_ID" not in options and options.get("ENV_AUTH", "").lower() != TRUE,
    )


def _url(endpoint: str) -> str:
    """An endpoint may come without its scheme, as rclone takes it too."""
    return endpoint if not endpoint or "://" in endpoint else f"https://{endpoint}"
