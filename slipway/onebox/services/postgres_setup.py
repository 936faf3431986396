"""Two steps around PostgreSQL's start: make its cluster (and clear what a crash left), make its databases."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
from psycopg2 import sql

from slipway.onebox.paths import Paths
from slipway.onebox.services.postgres import DATABASES, MAJOR, NOBODY, USER, binary, run_as_argv
from slipway.onebox.supervisor.history import PERMANENT_EXIT
from slipway.onebox.supervisor.procfs import identify, pids
from slipway.onebox.supervisor.state import load_states

LEFTOVERS_END_WITHIN_S = 10.0
POLL_S = 0.05


class ClusterError(Exception):
    """The data folder cannot be used; the message says why and what to do."""


def ensure_cluster(data: Path, *, output: int | None = None) -> None:
    """Make the cluster if there is none; end processes that a killed server left behind. initdb's text is for ``output``."""
    uid = os.getuid()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if uid == 0:
        os.chown(data, NOBODY, NOBODY)
    version = data / "PG_VERSION"
    if not version.exists():
        if any(data.iterdir()):
            raise ClusterError(f"{data}: not empty, and no cluster of PostgreSQL: move the folder away")
        _make_cluster(data, uid, output)
    elif (found := version.read_text().strip()) != str(MAJOR):
        raise ClusterError(
            f"{data}: made by PostgreSQL {found}, this is {MAJOR}: dump it with the old one, or move the folder away"
        )
    end_leftovers(data)


def _make_cluster(data: Path, uid: int, output: int | None) -> None:
    """Initdb fills a folder beside the final one, so that a half-made cluster is never mistaken for a whole one."""
    draft = data.with_name(f"{data.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if uid == 0:
        os.chown(draft, NOBODY, NOBODY)
    options = [f"--username={USER}", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions"]
    subprocess.run([*run_as_argv(uid), str(binary("initdb")), "-D", str(draft), *options], check=True, stdout=output)
    data.rmdir()
    draft.rename(data)


def end_leftovers(data: Path) -> None:
    """End what works in a cluster that nobody looks after any more; a stale pid may be somebody else's by now.

    Workers of a killed server keep its shared memory until they notice. Raises ClusterError.
    """
    leftovers = [pid for pid in pids() if _works_in(pid, data)]
    for pid in leftovers:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + LEFTOVERS_END_WITHIN_S
    while any(identify(pid) for pid in leftovers):
        if time.monotonic() > deadline:
            raise ClusterError(f"{data}: processes {leftovers} of an earlier server do not end")
        time.sleep(POLL_S)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _works_in(pid: int, data: Path) -> bool:
    """Whether it is a PostgreSQL process of this cluster: each has the data folder as its working directory."""
    process = Path("/proc") / str(pid)
    try:
        return (process / "cwd").readlink() == data.resolve() and (process / "exe").readlink().name == "postgres"
    except OSError:  # gone, or not ours to look at
        return False


def ensure_databases(folder: Path) -> None:
    connection = psycopg2.connect(host=str(folder), user=USER, dbname="postgres")
    connection.autocommit = True  # CREATE DATABASE cannot run in a transaction
    try:
        with connection.cursor() as cursor:
            for name in DATABASES:
                cursor.execute("select 1 from pg_database where datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    finally:
        connection.close()


def main() -> int:
    """Run one step: `cluster` before the server starts, `databases` once it answers."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.postgres_setup", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    parser.add_argument("step", choices=("cluster", "databases"))
    given = parser.parse_args()
    paths = Paths(given.home.absolute())
    try:
        if given.step == "cluster":
            server = load_states(paths.run).get("postgres")
            if server is None or not server.is_alive:  # a new supervisor adopts a server that lives
                ensure_cluster(paths.data("postgres"))
        else:
            ensure_databases(paths.sockets)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return PERMANENT_EXIT
    except (OSError, subprocess.CalledProcessError, psycopg2.Error) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
