"""What PostgreSQL says of MLflow's databases; libpq reads PGHOST, PGUSER and PGPASSWORD."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from slipway.tracking.errors import BackupError, InUse
from slipway.tracking.manifest import ModelVersion
from slipway.tracking.settings import DRIVER

ANSWERS_WITHIN_S = 10
END, END_BYTES = b"-- PostgreSQL database dump complete", 4096
DIGEST_TAG = "slipway.digest"
USERS = """
select count(*) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and usesysid is not null
and coalesce(backend_type, 'client backend') = 'client backend'
"""
"""Of other roles' sessions, who is no superuser sees the user but no type; PostgreSQL's own processes have no user.
https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
"""
VERSIONS = """
select v.name, v.version, coalesce(v.source, ''), t.value from model_versions v
join model_version_tags t on t.name = v.name and t.version = v.version and t.key = %s order by v.name, v.version
"""


def address(uri: str) -> str:
    """SQLAlchemy's address as libpq's."""
    return uri.replace(f"{DRIVER}://", "postgresql://", 1)


def name_of(uri: str) -> str:
    """The database's name."""
    return str(parse_dsn(address(uri))["dbname"])


def refuse_users(uri: str) -> None:
    """Raises InUse where anybody else is connected, BackupError where PostgreSQL does not answer."""
    with _cursor(uri) as cursor:
        cursor.execute(USERS)
        ((users,),) = cursor.fetchall()
    if users:
        raise InUse(
            f"database {name_of(uri)}: {users} others are connected: stop who uses it first "
            "(kubectl -n slipway-system scale deployment/mlflow --replicas=0)"
        )


def refuse_unfinished(dump: Path) -> None:
    """Raises BackupError for a dump without its last words: psql would load one that ends within a table."""
    try:
        with dump.open("rb") as file:
            file.seek(max(0, dump.stat().st_size - END_BYTES))
            if END in file.read():
                return
    except FileNotFoundError as error:
        raise BackupError(f"{dump}: not there: the container before this one makes it") from error
    raise BackupError(f"{dump}: is no whole dump: {END.decode()!r} is not at its end")


def registered_models(uri: str) -> tuple[ModelVersion, ...]:
    """Every version that has a digest. Raises BackupError."""
    with _cursor(uri) as cursor:
        cursor.execute(VERSIONS, (DIGEST_TAG,))
        return tuple(ModelVersion(name, str(version), source, digest) for name, version, source, digest in cursor)


@contextmanager
def _cursor(uri: str) -> Iterator[Any]:
    connection = None
    try:
        connection = psycopg2.connect(address(uri), connect_timeout=ANSWERS_WITHIN_S)
        with connection, connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        raise BackupError(f"database {name_of(uri)}: {' '.join(str(error).split())}") from error
    finally:
        if connection is not None:
            connection.close()
