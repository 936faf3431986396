"""Both databases of MLflow at the schema of this MLflow, with the accounts that must be there; any number of times.

One process at a time: PostgreSQL's advisory lock is held until the last step, and freed by PostgreSQL with whoever had it.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from slipway.tracking.errors import SchemaNotReady
from slipway.tracking.schema import current_revision, ensure_schema, ensure_tables, revision_of
from slipway.tracking.settings import Account, Databases

LOCK = 0x511B_0A1F
"""Ours among the database's advisory locks: any number that nobody else takes (MLflow takes none)."""
READY_WITHIN_S = 240.0
LOOK_EVERY_S = 2.0
Say = Callable[[str], None]


def migrate(databases: Databases, accounts: Sequence[Account], *, say: Say) -> None:
    """Raises NewerSchemaError."""
    with _alone(databases.tracking):
        before = revision_of(databases.tracking)
        if ensure_schema(databases.tracking):
            say(f"mlflow: upgraded from {before} to {current_revision()}")
        else:
            ensure_tables(databases.tracking)
            say(f"mlflow: {'as it was' if before else 'made'}, schema {current_revision()}")
        ensure_accounts(databases.auth, accounts, say=say)


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select pg_advisory_lock(:lock)"), {"lock": LOCK})
            yield
    finally:
        engine.dispose()


def ensure_accounts(uri: str, accounts: Sequence[Account], *, say: Say) -> None:
    """The schema of the accounts' database, and each account with the password that is given."""
    store = _store(uri)
    for account in accounts:
        if not store.has_user(account.name):
            store.create_user(account.name, account.password, is_admin=account.is_admin)
            say(f"account {account.name}: made")
        elif not store.authenticate_user(account.name, account.password):
            store.update_user(account.name, password=account.password)
            say(f"account {account.name}: has the Secret's password again")


def _store(uri: str) -> Any:
    """Opening it upgrades its schema."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store: Any = SqlAlchemyStore()
    store.init_db(uri)
    return store


def await_schema(databases: Databases, *, within_s: float = READY_WITHIN_S) -> None:
    """Return once somebody has migrated: what a server waits for before it starts.

    Raises:
        SchemaNotReady: nobody has, in that time.
        NewerSchemaError: nobody can.
    """
    wanted, deadline = current_revision(), time.monotonic() + within_s
    while (found := _revision_or_none(databases.tracking)) != wanted:
        if time.monotonic() > deadline:
            raise SchemaNotReady(
                f"the database has the schema {found or '(none)'}, this MLflow serves {wanted}: run the Job mlflow-migrate"
            )
        time.sleep(LOOK_EVERY_S)


def _revision_or_none(uri: str) -> str | None:
    """None also where no PostgreSQL answers yet: a database may start after its user."""
    from sqlalchemy.exc import OperationalError

    from slipway.tracking.schema import refuse_unknown

    try:
        found = revision_of(uri)
    except OperationalError:
        return None
    if found is not None:
        refuse_unknown(found)
    return found
