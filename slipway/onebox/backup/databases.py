"""Databases in and out: SQLite by its own backup call, PostgreSQL by pg_dump and pg_restore of the platform's server."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2

from slipway.onebox.backup.errors import BackupError, NotMade, NotRestored
from slipway.onebox.paths import Paths
from slipway.onebox.services.postgres import DATABASES, USER, binary, server_argv
from slipway.onebox.services.postgres_setup import ClusterError, ensure_cluster, ensure_databases

LOCKED_S = 30.0
RUNS_WITHIN_S = 3600.0
START_WITHIN_S = 60.0
STOP_WITHIN_S = 60.0
POLL_S = 0.05
LAST_LINES = 5
DUMP_ORDER = tuple(reversed(DATABASES))
"""Permissions before what they are given on: each that is kept is one on something that is kept."""


def copy_sqlite(source: Path, target: Path) -> None:
    """All of ``source`` as it is at one moment, while others write to it. Raises NotMade."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(source, timeout=LOCKED_S)) as from_, closing(sqlite3.connect(target)) as to:
            from_.backup(to)
    except sqlite3.Error as error:
        raise NotMade(f"{source}: {error}") from error


def dump_postgres(paths: Paths, folder: Path) -> None:
    """``<database>.dump`` of each, each of one moment, in DUMP_ORDER. Raises NotMade."""
    folder.mkdir(mode=0o700)
    for name in DUMP_ORDER:
        argv = (str(binary("pg_dump")), "--format=custom", "--compress=none", "--no-owner", *_where(paths.sockets))
        done = _run((*argv, "--file", str(folder / f"{name}.dump"), name))
        if done.returncode != 0:
            raise NotMade(f"PostgreSQL, database {name}: pg_dump failed: {_end_of(done.stderr)}")


def load_postgres(paths: Paths, folder: Path) -> None:
    """A new cluster below ``paths`` with the databases of ``folder``; its server ends before this returns.

    Raises:
        NotRestored: PostgreSQL does not start, or refuses a dump.
    """
    paths.data("postgres").parent.mkdir(mode=0o700, exist_ok=True)
    try:
        ensure_cluster(paths.data("postgres"), output=subprocess.DEVNULL)
    except (ClusterError, subprocess.CalledProcessError) as error:
        raise NotRestored(f"PostgreSQL: no cluster can be made: {error}") from error
    with _server(paths):
        _make_databases(paths.sockets)
        for name in DATABASES:
            argv = (str(binary("pg_restore")), "--exit-on-error", "--single-transaction", "--no-owner")
            done = _run((*argv, *_where(paths.sockets), "--dbname", name, str(folder / f"{name}.dump")))
            if done.returncode != 0:
                raise NotRestored(f"PostgreSQL, database {name}: pg_restore failed: {_end_of(done.stderr)}")


def _make_databases(folder: Path) -> None:
    try:
        ensure_databases(folder)
    except psycopg2.Error as error:
        raise NotRestored(f"PostgreSQL: no databases can be made: {str(error).strip()}") from error


@contextmanager
def _server(paths: Paths) -> Iterator[None]:
    log = paths.home / "postgres.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            server_argv(paths),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        try:
            _await_answer(process, paths.sockets, log)
            yield
        finally:
            process.send_signal(signal.SIGINT)  # "fast": nobody is waited for
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    log.unlink()


def _await_answer(process: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while True:
        try:
            psycopg2.connect(host=str(folder), user=USER, dbname="postgres").close()
        except psycopg2.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotRestored(f"PostgreSQL does not start: {_end_of(log.read_text())}") from error
            time.sleep(POLL_S)
        else:
            return


def _where(folder: Path) -> tuple[str, ...]:
    return ("--host", str(folder), "--username", USER, "--no-password")


def _environment() -> dict[str, str]:
    """No variable of the shell's (PGOPTIONS, PGSERVICE) says what is dumped."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _run(argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUNS_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BackupError(f"{Path(argv[0]).name}: not done within {RUNS_WITHIN_S:g} s") from error


def _end_of(text: str) -> str:
    return "; ".join(text.strip().splitlines()[-LAST_LINES:]) or "it says nothing"
