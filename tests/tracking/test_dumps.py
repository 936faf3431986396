"""What the containers of mlflow/base say to PostgreSQL's programs: a database goes to a file and comes back whole, or stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from slipway.onebox.services.postgres import binary
from slipway.tracking import backup
from slipway.tracking.databases import END, address, name_of, refuse_unfinished, refuse_users, registered_models
from slipway.tracking.errors import BackupError, InUse
from slipway.tracking.settings import Databases, Place
from tests.data import REPOSITORY
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


def command(file: str, container: str, folder: Path) -> list[str]:
    """With the folder of dumps, and the programs, where they are here."""
    pod: dict[str, Any] = yaml.safe_load((REPOSITORY / "mlflow/base" / file).read_text())["spec"]["jobTemplate"]["spec"]
    spec = pod["template"]["spec"]
    (found,) = [item for item in spec["initContainers"] + spec["containers"] if item["name"] == container]
    program, *words = found["command"]
    return [str(binary(program)), *(word.replace("/dumps/", f"{folder}/") for word in words)]


def dump(folder: Path) -> Path:
    subprocess.run(command("backup.yaml", "dump-registry", folder), check=True, capture_output=True)
    return folder / "mlflow.sql"


def load(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = command("restore.yaml", "load-registry", folder)
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **environment})


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
    run("create table runs (id int primary key, note text)", "insert into runs values (1, 'a'), (2, E'ä''\n;')")
    dump(tmp_path)
    run("delete from runs", "create table of_a_newer_release (id int)")
    for _ in range(2):
        done = load(tmp_path)
        assert done.returncode == 0, done.stderr
        assert run("select * from runs order by id") == [(1, "a"), (2, "ä'\n;")]
    assert run("select table_name from information_schema.tables where table_schema = 'public'") == [("runs",)]


def test_dump_that_did_not_come_to_its_end_is_refused(tmp_path: Path) -> None:
    run("create table runs as select generate_series(1, 2000) as id")
    file = dump(tmp_path)
    refuse_unfinished(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with pytest.raises(BackupError, match="is no whole dump"):
        refuse_unfinished(file)
    with pytest.raises(BackupError, match="not there: the container before this one"):
        refuse_unfinished(tmp_path / "other.sql")


def test_dump_that_the_database_refuses_changes_nothing(tmp_path: Path) -> None:
    """It does so after everything was dropped: the transaction brings it back."""
    run("create table runs (id int)", "insert into runs values (1)")
    file = dump(tmp_path)
    file.write_text(f"{file.read_text()}\nselect 1 / 0;\n")
    done = load(tmp_path)
    assert "division by zero" in done.stderr
    assert done.returncode != 0
    assert run("select * from runs") == [(1,)]


def test_users_of_a_database_are_seen() -> None:
    refuse_users(URI)
    connection = psycopg2.connect(address(URI))
    with pytest.raises(InUse, match=r"database mlflow: 1 others are connected: stop who uses it first"):
        refuse_users(URI)
    connection.close()


def test_users_of_another_role_are_seen(server: PostgresServer) -> None:
    """Whose sessions PostgreSQL shows without their type to who is no superuser."""
    connection = psycopg2.connect(server.dsn, dbname="mlflow")
    with pytest.raises(InUse, match=r"database mlflow: 1 others are connected"):
        refuse_users(URI)
    connection.close()


def test_versions_with_a_digest_are_listed() -> None:
    run(
        "create table model_versions (name text, version int, source text)",
        "create table model_version_tags (name text, version int, key text, value text)",
        "insert into model_versions values ('yolo', 1, 's3://b/1'), ('yolo', 2, null), ('other', 1, 's3://b/o')",
        "insert into model_version_tags values ('yolo', 2, 'slipway.digest', 'sha256:2'), ('yolo', 1, 'else', 'x'),"
        " ('yolo', 1, 'slipway.digest', 'sha256:1')",
    )
    found = [(model.name, model.version, model.source, model.digest) for model in registered_models(URI)]
    assert found == [("yolo", "1", "s3://b/1", "sha256:1"), ("yolo", "2", "", "sha256:2")]


class NoBucket:
    """A bucket that must stay as it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ensure(self) -> None:
        """It is there."""


@pytest.mark.filterwarnings("ignore")  # Alembic's own
@pytest.mark.timeout(180)  # MLflow is imported: a minute on a busy machine
@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (
            ("drop table alembic_version",),
            "database mlflow: has no revision of MLflow's schema: run the Job mlflow-migrate",
        ),
        (
            (f"revoke all on alembic_version from {OWNER}",),
            r"database mlflow: the revision of its schema cannot be read \(.*permission denied .*\): PGUSER must be the owner",
        ),
    ],
    ids=["none", "not readable"],
)
def test_backup_without_the_revision_of_its_schema_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statements: tuple[str, ...], told: str
) -> None:
    run(
        "create table model_versions (name text, version int, source text)",
        "create table model_version_tags (name text, version int, key text, value text)",
        "create table alembic_version (version_num text)",
    )
    for name in ("mlflow", "auth"):
        (tmp_path / f"{name}.sql").write_bytes(END)
    run(*statements)
    monkeypatch.setattr(backup, "Bucket", NoBucket)
    databases = Databases(f"{URI}?host={os.environ['PGHOST']}&user={OWNER}", "postgresql+psycopg2:///auth")
    with pytest.raises(BackupError, match=told):
        backup.store(databases, Place("backups", "", 1), tmp_path, say=print)


def test_database_that_is_not_there_is_told() -> None:
    with pytest.raises(BackupError, match='database nowhere: .*"nowhere" does not exist'):
        refuse_users("postgresql+psycopg2:///nowhere")
    with pytest.raises(BackupError, match='database mlflow: relation "model_versions" does not exist'):
        registered_models(URI)
