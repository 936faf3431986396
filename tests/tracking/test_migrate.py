"""The migration on a real PostgreSQL: the accounts before what lets servers start, and one sentence for what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg2
import pytest

from slipway.tracking import migrate as module
from slipway.tracking.databases import address
from slipway.tracking.errors import DatabaseError, SchemaNotReady
from slipway.tracking.migrate import Say, await_schema, ensure_accounts, migrate
from slipway.tracking.schema import revision_of
from slipway.tracking.settings import Account, Databases
from tests.model_wrappers.postgres_server import PostgresServer

pytestmark = [
    pytest.mark.timeout(180),  # MLflow is imported: a minute on a busy machine
    pytest.mark.filterwarnings("ignore"),  # Alembic's own
]
ADMIN = Account("admin", "first-password", is_admin=True)
OWNER = "mlflow"


@pytest.fixture
def databases() -> Iterator[Databases]:
    server = PostgresServer()
    server.start()
    connection = psycopg2.connect(server.dsn)
    connection.autocommit = True
    for statement in (f"create role {OWNER} login", *(f"create database {name} owner {OWNER}" for name in ("t", "a"))):
        connection.cursor().execute(statement)
    connection.close()
    yield Databases(*(f"postgresql+psycopg2://{OWNER}@/{name}?host={server.folder}" for name in ("t", "a")))
    server.remove()


def test_server_that_waits_does_not_start_before_there_are_accounts(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_then_make(uri: str, accounts: Sequence[Account], *, say: Say) -> None:
        assert revision_of(databases.tracking) is None
        ensure_accounts(uri, accounts, say=say)
        with pytest.raises(SchemaNotReady):
            await_schema(databases, within_s=0)

    monkeypatch.setattr(module, "ensure_accounts", look_then_make)
    said: list[str] = []
    migrate(databases, (ADMIN,), say=said.append)
    assert [line.partition(",")[0] for line in said] == ["account admin: made", "mlflow: made"]
    await_schema(databases, within_s=0)


def test_what_postgresql_says_is_one_sentence_without_values(databases: Databases) -> None:
    nowhere = Databases(databases.tracking.replace("/t?", "/nowhere?"), databases.auth)
    with pytest.raises(DatabaseError, match=r"^MLflow's databases: .*\"nowhere\" does not exist$"):
        migrate(nowhere, (ADMIN,), say=print)
    with psycopg2.connect(address(databases.tracking)) as connection:
        connection.cursor().execute("create table alembic_version (version_num text)")
        connection.cursor().execute(f"revoke all on alembic_version from {OWNER}")
    connection.close()
    words = r"^MLflow's databases: permission denied for table alembic_version$"  # and not the statement
    with pytest.raises(DatabaseError, match=words):
        migrate(databases, (ADMIN,), say=print)
    with pytest.raises(DatabaseError, match=words):
        await_schema(databases, within_s=0)


def test_hashed_password_of_a_refused_statement_is_not_told(databases: Databases) -> None:
    """MLflow's own error has the whole statement with its values."""
    ensure_accounts(databases.auth, (), say=print)
    with psycopg2.connect(address(databases.auth)) as connection:
        connection.cursor().execute("alter table users add check (username <> 'admin')")
    connection.close()
    with pytest.raises(DatabaseError, match=r"violates check constraint") as caught:
        migrate(databases, (ADMIN,), say=print)
    assert "scrypt" not in str(caught.value)
    assert "\n" not in str(caught.value)
