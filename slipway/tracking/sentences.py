"""What PostgreSQL says through SQLAlchemy, Alembic and MLflow, as one line for a Pod's log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from slipway.tracking.errors import DatabaseError


@contextmanager
def sentences() -> Iterator[None]:
    """What SQLAlchemy, Alembic and MLflow raise, as DatabaseError: theirs have statements and values, hashed passwords among them."""
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, CommandError, MlflowException) as error:
        raise DatabaseError(f"MLflow's databases: {' '.join(_own_words(error).split())}") from error


def _own_words(error: BaseException) -> str:
    """PostgreSQL's, where it is the cause, but for its DETAIL: that has the values of a row."""
    import psycopg2
    from sqlalchemy.exc import DBAPIError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DBAPIError):
            primary = cause.orig.diag.message_primary if isinstance(cause.orig, psycopg2.Error) else None
            return primary or str(cause.orig)
        cause = cause.__cause__
    return str(error)
