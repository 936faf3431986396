"""Both databases of MLflow at the schema of this MLflow, with the accounts that must be there; any number of times.

The accounts come first: a server that finds the schema of its tracking database serves, and then somebody may log in.

One process at a time: PostgreSQL's advisory lock is held until the last step, and freed by PostgreSQL with whoever had it.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from slipway.tracking.errors import SchemaNotReady
from slipway.tracking.schema import (
    accounts_revision_of,
    current_accounts_revision,
    current_revision,
    ensure_schema,
    ensure_tables,
    refuse_unknown,
    refuse_unknown_accounts,
    revision_of,
)
from slipway.tracking.sentences import sentences
from slipway.tracking.settings import Account, Databases

LOCK = 0x511B_0A1F
"""Ours among the database's advisory locks: any number that nobody else takes (MLflow takes none)."""
READY_WITHIN_S = 240.0
LOOK_EVERY_S = 2.0
Say = Callable[[str], None]


def migrate(databases: Databases, accounts: Sequence[Account], *, say: Say) -> None:
    """Raises NewerSchemaError, before anything is changed, and DatabaseError."""
    with sentences(), _alone(databases.tracking):
        before = _refuse_newer(databases)
        ensure_accounts(databases.auth, accounts, say=say)
        if ensure_schema(databases.tracking):
            say(f"mlflow: upgraded from {before} to {current_revision()}")
        else:
            ensure_tables(databases.tracking)
            say(f"mlflow: {'as it was' if before else 'made'}, schema {current_revision()}")


def _refuse_newer(databases: Databases) -> str | None:
    """The revision of the tracking database."""
    before, accounts = revision_of(databases.tracking), accounts_revision_of(databases.auth)
    if before is not None:
        refuse_unknown(before)
    if accounts is not None:
        refuse_unknown_accounts(accounts)
    return before


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
    with _opened(uri) as store:
        for account in accounts:
            if not store.has_user(account.name):
                store.create_user(account.name, account.password, is_admin=account.is_admin)
                say(f"account {account.name}: made")
                continue
            if not store.authenticate_user(account.name, account.password):
                store.update_user(account.name, password=account.password)
                say(f"account {account.name}: has the configured password again")
            if store.get_user(account.name).is_admin != account.is_admin:
                store.update_user(account.name, is_admin=account.is_admin)
                say(f"account {account.name}: is {'an' if account.is_admin else 'no'} administrator again")


@contextmanager
def _opened(uri: str) -> Iterator[Any]:
    """Opening it upgrades its schema."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store: Any = SqlAlchemyStore()
    store.init_db(uri)
    try:
        yield store
    finally:
        store.engine.dispose()


@sentences()
def await_schema(databases: Databases, *, within_s: float = READY_WITHIN_S) -> None:
    """Return once somebody has migrated: what a server waits for before it starts.

    Raises:
        SchemaNotReady: nobody has, in that time.
        NewerSchemaError: nobody can.
        DatabaseError: PostgreSQL answers, and refuses.
    """
    deadline = time.monotonic() + within_s
    while missing := _missing(databases):
        if time.monotonic() > deadline:
            raise SchemaNotReady(f"{missing}: run the Job mlflow-migrate")
        time.sleep(LOOK_EVERY_S)


def _missing(databases: Databases) -> str:
    """What is not as this MLflow serves it; the accounts last, which the Job makes first."""
    looks = (
        ("the database", databases.tracking, revision_of, refuse_unknown, current_revision()),
        (
            "the accounts' database",
            databases.auth,
            accounts_revision_of,
            refuse_unknown_accounts,
            current_accounts_revision(),
        ),
    )
    for what, uri, look, refuse, wanted in looks:
        found = _revision_or_none(look, uri)
        if found is not None:
            refuse(found)
        if found != wanted:
            return f"{what} has the schema {found or '(none)'}, this MLflow serves {wanted}"
    return ""


def _revision_or_none(look: Callable[[str], str | None], uri: str) -> str | None:
    """None also where no PostgreSQL answers yet: a database may start after its user."""
    from sqlalchemy.exc import OperationalError

    try:
        return look(uri)
    except OperationalError:
        return None
