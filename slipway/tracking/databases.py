"""One database of PostgreSQL to a file and back, by its own programs, which read PGHOST, PGUSER and PGPASSWORD."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg2
from psycopg2.extensions import parse_dsn

from slipway.tracking.errors import BackupError, InUse
from slipway.tracking.programs import binary
from slipway.tracking.settings import DRIVER

RUNS_WITHIN_S = 3600.0
ANSWERS_WITHIN_S = 10
LAST_LINES = 5
EMPTY_FIRST = "drop owned by current_user;\n"
"""Also what the dump does not know: tables of a newer MLflow."""


def address(uri: str) -> str:
    """SQLAlchemy's address as libpq's."""
    return uri.replace(f"{DRIVER}://", "postgresql://", 1)


def name_of(uri: str) -> str:
    """The database's name."""
    return str(parse_dsn(address(uri))["dbname"])


def dump(uri: str, file: Path) -> None:
    """All of the database as it is at one moment. Raises BackupError."""
    argv = [str(binary("pg_dump")), "--format=custom", "--no-owner", "--no-privileges", "--no-password"]
    _run([*argv, f"--file={file}", f"--dbname={address(uri)}"], f"database {name_of(uri)}")


def refuse_users(uri: str) -> None:
    """Raises InUse where anybody else is connected, BackupError where PostgreSQL does not answer."""
    try:
        with (
            psycopg2.connect(address(uri), connect_timeout=ANSWERS_WITHIN_S) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
                "and backend_type = 'client backend'"
            )
            ((users,),) = cursor.fetchall()
        connection.close()
    except psycopg2.Error as error:
        raise BackupError(f"database {name_of(uri)}: {_end_of(str(error))}") from error
    if users:
        raise InUse(
            f"database {name_of(uri)}: {users} others are connected: stop who uses it first "
            "(kubectl -n slipway-system scale deployment/mlflow --replicas=0)"
        )


def load(uri: str, file: Path) -> None:
    """The database becomes what ``file`` says, or stays as it is. Raises BackupError."""
    where = f"database {name_of(uri)}"
    script = file.with_suffix(".sql")
    flags = ("--no-owner", "--no-privileges", "--exit-on-error")
    _run([str(binary("pg_restore")), *flags, f"--file={script}", str(file)], where)
    psql = [str(binary("psql")), "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"]
    _run([*psql, "--single-transaction", f"--command={EMPTY_FIRST}", f"--file={script}", address(uri)], where)
    script.unlink()


def _run(argv: Sequence[str], where: str) -> None:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUNS_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BackupError(f"{where}: {Path(argv[0]).name} is not done within {RUNS_WITHIN_S:g} s") from error
    if done.returncode != 0:
        raise BackupError(f"{where}: {Path(argv[0]).name} failed: {_end_of(done.stderr)}")


def _end_of(text: str) -> str:
    return "; ".join(text.strip().splitlines()[-LAST_LINES:]) or "it says nothing"
