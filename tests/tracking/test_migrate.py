"""The migration on a real PostgreSQL: the accounts before what lets servers start, and one sentence for what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg2
import pytest

from slipway.tracking import migrate as module
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
    with psycopg2.connect(databases.auth.replace("+psycopg2", "")) as connection:
        connection.cursor().execute("create table alembic_version_auth (version_num int check (version_num > 0))")
    connection.close()
    with pytest.raises(DatabaseError, match=r"^MLflow's databases: .*[^)]$") as caught:
        migrate(databases, (ADMIN,), say=print)
    assert "[SQL:" not in str(caught.value)
    assert "\n" not in str(caught.value)
