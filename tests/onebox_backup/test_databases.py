"""PostgreSQL out and in, with the platform's own server: what was committed before the dump is there, nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from slipway.onebox.backup import databases
from slipway.onebox.backup.databases import _run, _server, copy_sqlite, dump_postgres, load_postgres
from slipway.onebox.backup.errors import BackupError, NotMade, NotRestored
from slipway.onebox.paths import Paths
from slipway.onebox.services.postgres import DATABASES, USER
from slipway.onebox.services.postgres_setup import ensure_cluster, ensure_databases
from tests.onebox_backup.homes import put


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    with sockets(Paths(tmp_path / "old")) as paths:
        paths.data("postgres").parent.mkdir(parents=True)
        ensure_cluster(paths.data("postgres"))
        yield paths


@contextmanager
def sockets(paths: Paths) -> Iterator[Paths]:
    paths.sockets.mkdir(mode=0o700)
    try:
        yield paths
    finally:
        shutil.rmtree(paths.sockets)


def rows(paths: Paths, database: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(host=str(paths.sockets), user=USER, dbname=database)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def test_what_was_committed_comes_back_in_a_new_cluster(paths: Paths, tmp_path: Path) -> None:
    with _server(paths):
        ensure_databases(paths.sockets)
        for database in DATABASES:
            rows(paths, database, "create table t (id serial primary key, note text default 'ü \\ '' x')")
            rows(paths, database, "insert into t default values")
        with closing(psycopg2.connect(host=str(paths.sockets), user=USER, dbname=DATABASES[0])) as open_one:
            with open_one.cursor() as cursor:
                cursor.execute("insert into t default values")
                dump_postgres(paths, tmp_path / "dumps")
            open_one.commit()
    with sockets(Paths(tmp_path / "new")) as new:
        new.home.mkdir()
        load_postgres(new, tmp_path / "dumps")
        with _server(new):
            for database in DATABASES:
                assert rows(new, database, "select id, note from t") == [(1, "ü \\ ' x")]
            assert rows(new, DATABASES[0], "insert into t default values returning id > 1") == [(True,)]
    assert not (new.home / "postgres.log").exists()


def test_damaged_dump_is_an_error_and_no_server_is_left(tmp_path: Path) -> None:
    dumps = tmp_path / "dumps"
    for database in DATABASES:
        put(dumps / f"{database}.dump", "no dump")
    with sockets(Paths(tmp_path / "new")) as new:
        new.home.mkdir()
        with pytest.raises(NotRestored, match="pg_restore failed"):
            load_postgres(new, dumps)
        assert not list(new.sockets.iterdir())


def test_server_that_is_away_is_an_error(tmp_path: Path) -> None:
    with sockets(Paths(tmp_path / "x")) as paths, pytest.raises(NotMade, match="pg_dump failed"):
        dump_postgres(paths, tmp_path / "dumps")


def test_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    source = put(tmp_path / "objects.sqlite", "no database at all, but long enough to be read as one" * 100)
    with pytest.raises(NotMade, match="objects.sqlite"):
        copy_sqlite(source, tmp_path / "copy.sqlite")


def test_program_that_does_not_end_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "RUNS_WITHIN_S", 0.05)
    with pytest.raises(BackupError, match="tail: not done within"):
        _run(("/usr/bin/tail", "-f", "/dev/null"))


def test_server_that_makes_no_databases_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def gone(_: Paths) -> Iterator[None]:
        yield

    monkeypatch.setattr(databases, "ensure_cluster", lambda *_, **__: None)
    monkeypatch.setattr(databases, "_server", gone)
    with sockets(Paths(tmp_path / "x")) as paths:
        paths.home.mkdir()
        with pytest.raises(NotRestored, match="PostgreSQL: no databases can be made"):
            load_postgres(paths, tmp_path / "dumps")
