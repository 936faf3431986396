"""A database goes to a file and comes back whole, or not at all; against a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from slipway.tracking.databases import address, dump, load, name_of, refuse_users
from slipway.tracking.errors import BackupError, InUse
from tests.model_wrappers.postgres_server import PostgresServer

OWNER = "mlflow"
URI = "postgresql+psycopg2:///mlflow"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    found = PostgresServer()
    found.start()
    with psycopg2.connect(found.dsn) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"create role {OWNER} login")
    connection.close()
    yield found
    found.remove()


@pytest.fixture(autouse=True)
def database(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one of an owner who is no superuser, as an operator makes it."""
    connection = psycopg2.connect(server.dsn)
    connection.autocommit = True
    connection.cursor().execute("drop database if exists mlflow")
    connection.cursor().execute(f"create database mlflow owner {OWNER}")
    connection.close()
    monkeypatch.setenv("PGHOST", str(server.folder))
    monkeypatch.setenv("PGUSER", OWNER)


def run(*statements: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(address(URI))
    try:
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def test_name_and_address() -> None:
    assert (name_of(URI), address(URI)) == ("mlflow", "postgresql:///mlflow")
    assert name_of("postgresql+psycopg2://me@db:5433/other?sslmode=require") == "other"


def test_database_comes_back_without_what_came_after(tmp_path: Path) -> None:
    run("create table runs (id int primary key, note text)", "insert into runs values (1, 'a'), (2, 'ä''\n;')")
    dump(URI, tmp_path / "mlflow.dump")
    run("delete from runs", "create table of_a_newer_release (id int)")
    load(URI, tmp_path / "mlflow.dump")
    assert run("select * from runs order by id") == [(1, "a"), (2, "ä'\n;")]
    assert run("select table_name from information_schema.tables where table_schema = 'public'") == [("runs",)]
    load(URI, tmp_path / "mlflow.dump")
    assert run("select count(*) from runs") == [(2,)]


def test_broken_dump_changes_nothing(tmp_path: Path) -> None:
    run("create table runs as select generate_series(1, 20000) as id")
    file = tmp_path / "mlflow.dump"
    dump(URI, file)
    run("delete from runs where id > 7")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with pytest.raises(BackupError, match="database mlflow: pg_restore failed"):
        load(URI, file)
    assert run("select count(*) from runs") == [(7,)]


def test_dump_that_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    """What the database itself refuses comes after everything was dropped: the transaction brings it back."""
    run(
        "create table runs (id int)",
        "insert into runs values (1)",
        "create function broken() returns int as 'select 1' language sql",
    )
    file = tmp_path / "mlflow.dump"
    dump(URI, file)
    connection = psycopg2.connect(address(URI))
    connection.cursor().execute("lock table runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGOPTIONS", "-c lock_timeout=200")
        with pytest.raises(BackupError, match=r"psql failed: .*lock timeout"):
            load(URI, file)
    connection.close()
    assert run("select * from runs") == [(1,)]


def test_users_of_a_database_are_seen() -> None:
    refuse_users(URI)
    connection = psycopg2.connect(address(URI))
    with pytest.raises(InUse, match=r"database mlflow: 1 others are connected: stop who uses it first"):
        refuse_users(URI)
    connection.close()


def test_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match='database nowhere: pg_dump failed: .*"nowhere" does not exist'):
        dump("postgresql+psycopg2:///nowhere", tmp_path / "x")
    with pytest.raises(BackupError, match='"nowhere" does not exist'):
        refuse_users("postgresql+psycopg2:///nowhere")
