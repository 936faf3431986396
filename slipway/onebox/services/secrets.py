"""The platform's secrets: made once, one file each (0600) in a folder (0700), never in a command line or a log."""

from __future__ import annotations

import os
import secrets as random
from dataclasses import dataclass, field, fields
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.supervisor.errors import SupervisorError

SECRET_BYTES = 32
HASH_SUFFIX = "s3-hash-suffix"


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
    s3_hash_suffix: str = field(repr=False)  # salts the object server's paths; changing it loses every object
    hub_admin_password: str = field(repr=False)  # the hub's first account
    hub_cookie_key: str = field(repr=False)
    hub_proxy_token: str = field(repr=False)  # between JupyterHub and its proxy
    hub_crypt_key: str = field(repr=False)  # encrypts what an OAuth provider tells the hub
    hub_user_key: str = field(repr=False)  # makes each hub user's own password and token


def ensure_secrets(folder: Path) -> Secrets:
    """Load every secret, making the missing ones; modes are put right if somebody loosened them.

    Raises:
        SecretLost: the one without which no object is found.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return Secrets(**{item.name: _ensure(folder / item.name.replace("_", "-")) for item in fields(Secrets)})


class SecretLost(SupervisorError):
    """A secret that no other can replace is gone; the message says where it may still be."""


def _ensure(path: Path) -> str:
    """An empty file is what a full disk leaves: no secret, so another is made."""
    if path.exists() and (value := path.read_text().strip()):
        path.chmod(0o600)
        return value
    if path.name == HASH_SUFFIX:
        _refuse_where_objects_are(path)
    value = random.token_urlsafe(SECRET_BYTES)
    write_private(path, value)
    return value


def _refuse_where_objects_are(path: Path) -> None:
    store = Paths(path.parent.parent).data("s3")
    if next(store.glob("devices/*/*"), None) is not None:
        raise SecretLost(
            f"{path}: empty or gone, and with another one no object below {store} would be found: write the value of "
            f"swift_hash_path_suffix in {store}/etc/swift.conf into it, or fetch it from a backup "
            f"(tar -xzOf FILE secrets/{HASH_SUFFIX}); who gives up all models moves {store} away"
        )


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
