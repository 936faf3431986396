"""MLflow's database of an older release is upgraded with what is in it, a newer one's is refused."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from slipway.tracking.errors import NewerSchemaError, SchemaNotReady
from slipway.tracking.migrate import await_schema, ensure_accounts
from slipway.tracking.schema import _steps, current_revision, ensure_schema
from slipway.tracking.settings import Account, Databases
from tests.tracking.older_schema import make_older_schema

pytestmark = [
    pytest.mark.timeout(180),  # MLflow is imported and makes fifty tables: minutes on a busy machine
    pytest.mark.filterwarnings("ignore"),  # Alembic's own
]


@pytest.fixture
def old(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(made, tmp_path / "mlflow.db"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes it, stopped a dozen revisions before the present one, with an experiment."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    make_older_schema(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as database:
        database.execute("insert into experiments (experiment_id, name, lifecycle_stage) values (7, 'kept', 'active')")
        database.commit()
    return file


def revision_of(file: Path) -> str:
    with closing(sqlite3.connect(file)) as database:
        ((revision,),) = database.execute("select version_num from alembic_version").fetchall()
    return str(revision)


def test_database_of_an_older_release_is_upgraded_and_keeps_what_it_has(old: Path) -> None:
    assert revision_of(old) != _steps().get_current_head()
    assert ensure_schema(f"sqlite:///{old}")
    assert revision_of(old) == _steps().get_current_head()
    with closing(sqlite3.connect(old)) as database:
        assert database.execute("select name from experiments where experiment_id = 7").fetchall() == [("kept",)]
    assert not ensure_schema(f"sqlite:///{old}")


def test_new_database_is_left_to_mlflow(tmp_path: Path) -> None:
    assert not ensure_schema(f"sqlite:///{tmp_path}/new.db")


def test_database_of_a_newer_release_is_refused_and_unchanged(old: Path) -> None:
    with closing(sqlite3.connect(old)) as database:
        database.execute("update alembic_version set version_num = 'fffffff00001'")
        database.commit()
    with pytest.raises(NewerSchemaError, match=re.escape("schema fffffff00001, which MLflow")):
        ensure_schema(f"sqlite:///{old}")
    assert revision_of(old) == "fffffff00001"


def test_server_waits_until_somebody_has_migrated(old: Path, tmp_path: Path) -> None:
    accounts = f"sqlite:///{tmp_path}/accounts.db"

    def wait(file: Path) -> None:
        await_schema(Databases(f"sqlite:///{file}", accounts), within_s=0)

    with pytest.raises(SchemaNotReady, match=r"the database has the schema \(none\), .* run the Job mlflow-migrate"):
        wait(tmp_path / "new.db")
    with pytest.raises(
        SchemaNotReady, match=f"has the schema {revision_of(old)}, this MLflow serves {current_revision()}"
    ):
        wait(old)
    ensure_schema(f"sqlite:///{old}")
    with pytest.raises(SchemaNotReady, match=r"the accounts' database has the schema \(none\), .* run the Job"):
        wait(old)
    ensure_accounts(accounts, (), say=print)
    wait(old)
    with closing(sqlite3.connect(tmp_path / "accounts.db")) as database:
        database.execute("update alembic_version_auth set version_num = 'fffffff00001'")
        database.commit()
    with pytest.raises(NewerSchemaError, match="the database of MLflow's accounts has the schema fffffff00001"):
        wait(old)


def test_accounts_become_what_they_should_be(tmp_path: Path) -> None:
    uri, said = f"sqlite:///{tmp_path}/accounts.db", list[str]()
    passwords = ("first-password", "other-password")
    ensure_accounts(uri, (Account("a", passwords[0], is_admin=True), Account("b", passwords[0])), say=said.append)
    ensure_accounts(uri, (Account("a", passwords[0]), Account("b", passwords[1], is_admin=True)), say=said.append)
    assert said == [
        "account a: made",
        "account b: made",
        "account a: is no administrator again",
        "account b: has the configured password again",
        "account b: is an administrator again",
    ]
    said.clear()
    ensure_accounts(uri, (Account("a", passwords[0]), Account("b", passwords[1], is_admin=True)), say=said.append)
    assert said == []
