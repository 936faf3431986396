"""The environment of MLflow's Pods → what the steps beside the server work on.

Passwords of PostgreSQL come in libpq's own variables (PGHOST, PGUSER, PGPASSWORD, PGSSLMODE), so that no address has one:
addresses end up in arguments and logs. https://www.postgresql.org/docs/current/libpq-envars.html
"""

from __future__ import annotations

from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from slipway.tracking.errors import SettingsError
from slipway.tracking.placeholder import PLACEHOLDER

TRACKING, AUTH = "MLFLOW_BACKEND_STORE_URI", "MLFLOW_AUTH_CONFIG_PATH"
PLACE, KEEP = "SLIPWAY_BACKUP_TO", "SLIPWAY_BACKUP_KEEP"
DEFAULT_KEEP = 14
SHORTEST_PASSWORD = 12  # MLflow refuses less
DRIVER = "postgresql+psycopg2"
PASSWORDS_OF_A_QUERY = {"password", "sslpassword"}  # libpq takes them there, too


@dataclass(frozen=True)
class Account:
    """Somebody whom MLflow lets in."""

    name: str
    password: str = field(repr=False)
    is_admin: bool = False


@dataclass(frozen=True)
class Databases:
    """SQLAlchemy's addresses of MLflow's two databases."""

    tracking: str
    auth: str


@dataclass(frozen=True)
class Place:
    """``s3://bucket/prefix``, and how many backups stay there."""

    bucket: str
    prefix: str
    keep: int

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def databases(environ: Mapping[str, str]) -> Databases:
    """Raises SettingsError."""
    config = Path(_required(environ, AUTH))
    parsed = ConfigParser(interpolation=None)
    try:
        parsed.read_string(config.read_text())
        auth = parsed["mlflow"]["database_uri"]
    except (OSError, ConfigError, KeyError) as error:
        raise SettingsError(
            f"{AUTH}={config}: a file with database_uri in its section [mlflow] is needed: {error}"
        ) from error
    tracking = _required(environ, TRACKING)
    _refuse_address(TRACKING, tracking)
    _refuse_address(f"database_uri of {config}", auth)
    return Databases(tracking, auth)


def _refuse_address(where: str, uri: str) -> None:
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):  # which may show a password
        raise SettingsError(f"{where}: is no address; write {DRIVER}:///mlflow") from None
    if url.drivername != DRIVER:
        raise SettingsError(f"{where}: {url.drivername}:// is no address of PostgreSQL; write {DRIVER}:///mlflow")
    if url.password is not None or PASSWORDS_OF_A_QUERY & url.query.keys():
        raise SettingsError(f"{where}: has a password, which would show in logs: put it into PGPASSWORD")


def accounts(environ: Mapping[str, str]) -> tuple[Account, ...]:
    """The admin, and the reader that Pods and the controller use. Raises SettingsError."""
    admin, reader = (
        _account(environ, "MLFLOW_AUTH_ADMIN", is_admin=True),
        _account(environ, "SLIPWAY_READER", is_admin=False),
    )
    if admin.name == reader.name:
        raise SettingsError(
            f"SLIPWAY_READER_USERNAME={reader.name}: is the admin's name, and who only reads would be the admin: "
            "write another MLFLOW_TRACKING_USERNAME into the Secret slipway-model-storage"
        )
    return admin, reader


def _account(environ: Mapping[str, str], prefix: str, *, is_admin: bool) -> Account:
    name, password = _required(environ, f"{prefix}_USERNAME"), _required(environ, f"{prefix}_PASSWORD")
    if len(password) < SHORTEST_PASSWORD:
        raise SettingsError(f"{prefix}_PASSWORD is shorter than {SHORTEST_PASSWORD} characters, which MLflow refuses")
    return Account(name, password, is_admin=is_admin)


def place(environ: Mapping[str, str]) -> Place:
    """Raises SettingsError."""
    uri = _required(environ, PLACE)
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise SettingsError(f"{PLACE}={uri!r}: write s3://BUCKET/FOLDER")
    text = environ.get(KEEP, str(DEFAULT_KEEP))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise SettingsError(f"{KEEP}={text!r}: a number of backups from 1 on")
    return Place(bucket, prefix.strip("/"), int(text))


def _required(environ: Mapping[str, str], name: str) -> str:
    if not environ.get(name):
        raise SettingsError(
            f"{name} is not set: mlflow/base/settings.env and the Secrets of mlflow/README.md have all of them"
        )
    return environ[name]


def refuse_placeholders(environ: Mapping[str, str]) -> None:
    """Of everything that a Pod is given, also what only its server reads. Raises SettingsError."""
    for name in sorted(environ):
        if PLACEHOLDER in environ[name]:
            raise SettingsError(f"{name} still says {PLACEHOLDER}: put a value of your own into its Secret")
