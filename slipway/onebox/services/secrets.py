"""The platform's secrets: made once, one file each (0600) in a folder (0700), never in a command line or a log."""

from __future__ import annotations

import logging
import os
import secrets as random
from dataclasses import dataclass, field, fields
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services.lost_secrets import HASH_SUFFIX, is_depended_on, is_missing, marker_of, replaced_text

SECRET_BYTES = 32
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Secrets:
    """Every generated secret; the file of ``mlflow_admin_password`` is ``mlflow-admin-password``."""

    api_token: str = field(repr=False)
    mlflow_admin_password: str = field(repr=False)
    mlflow_reader_password: str = field(repr=False)
    mlflow_flask_key: str = field(repr=False)
    s3_registrar_key: str = field(repr=False)  # may write model versions
    s3_reader_key: str = field(repr=False)  # may read them
    s3_scientist_key: str = field(repr=False)  # may write them, but change no bucket: what notebooks get
    s3_hash_suffix: str = field(repr=False)  # salts the object server's paths; empty where it was lost
    hub_admin_password: str = field(repr=False)  # the hub's first account
    hub_cookie_key: str = field(repr=False)
    hub_proxy_token: str = field(repr=False)  # between JupyterHub and its proxy
    hub_crypt_key: str = field(repr=False)  # encrypts what an OAuth provider tells the hub
    hub_user_key: str = field(repr=False)  # makes each hub user's own password and token


def ensure_secrets(folder: Path) -> Secrets:
    """Load every secret, making the missing ones; modes are put right if somebody loosened them.

    One that is replaced while something depends on it is told, and remembered for `slipway status`. Only S3's salt is left
    empty then: ``refuse_lost_salt`` comes before whatever uses it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return Secrets(**{item.name: _ensure(folder / item.name.replace("_", "-")) for item in fields(Secrets)})


def _ensure(path: Path) -> str:
    if not is_missing(path):
        path.chmod(0o600)
        return path.read_text().strip()
    if is_depended_on(Paths(path.parent.parent), path.name):
        if path.name == HASH_SUFFIX:
            return ""
        write_private(marker_of(path), "")
        log.warning("%s", replaced_text(path))
    value = random.token_urlsafe(SECRET_BYTES)
    write_private(path, value)
    return value


def write_private(path: Path, text: str) -> None:
    """Replace a file that holds secrets, readable by its owner only, in one step; it is on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # no pipe or link that lies in wait
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    scratch.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """So that the names in it are on disk, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
