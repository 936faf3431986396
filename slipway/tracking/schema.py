"""MLflow's database is brought to the schema of the MLflow that serves it: what `mlflow db upgrade` does, at the start.

Each schema has a revision (Alembic's), and MLflow carries the steps from every older one. It refuses to serve an older
database, and fails somewhere in the middle on a newer one.
"""

from __future__ import annotations

from typing import Any

from slipway.tracking.errors import NewerSchemaError

ACCOUNTS_VERSION_TABLE = "alembic_version_auth"  # MLflow's name for it, mlflow.server.auth.db.utils


def ensure_schema(uri: str) -> bool:
    """Whether the database was of an older release and is upgraded now. An empty one is left to MLflow.

    Raises:
        NewerSchemaError: its revision is none that this MLflow knows.
    """
    tools = _tools()
    engine = tools.create_sqlalchemy_engine_with_retry(uri)
    try:
        revision, script = tools._get_schema_version(engine), _steps()  # noqa: SLF001  - MLflow has no other way in
        if revision is None or revision == script.get_current_head():
            return False
        refuse_unknown(revision)
        tools._upgrade_db(engine)  # noqa: SLF001  - what `mlflow db upgrade` calls
    finally:
        engine.dispose()
    return True


def ensure_tables(uri: str) -> None:
    """Make MLflow's tables in an empty database, as `mlflow db upgrade` does; leave one that has any."""
    tools = _tools()
    engine = tools.create_sqlalchemy_engine_with_retry(uri)
    try:
        if tools._is_empty_database(engine):  # noqa: SLF001  - what `mlflow db upgrade` calls
            tools._initialize_tables(engine)  # noqa: SLF001  - the same
    finally:
        engine.dispose()


def revision_of(uri: str) -> str | None:
    """The revision of a database; None for one without MLflow's tables."""
    tools = _tools()
    engine = tools.create_sqlalchemy_engine_with_retry(uri)
    try:
        revision: str | None = tools._get_schema_version(engine)  # noqa: SLF001  - MLflow has no other way in
        return revision
    finally:
        engine.dispose()


def current_revision() -> str:
    """The one that this MLflow serves."""
    head: str = _steps().get_current_head()
    return head


def accounts_revision_of(uri: str) -> str | None:
    """The revision of the accounts' database, which has steps of its own; None for one without their tables."""
    import sqlalchemy
    from alembic.migration import MigrationContext

    engine = sqlalchemy.create_engine(uri)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": ACCOUNTS_VERSION_TABLE})
            return context.get_current_revision()
    finally:
        engine.dispose()


def current_accounts_revision() -> str:
    """The one that this MLflow serves."""
    head: str = _accounts_steps().get_current_head()
    return head


def refuse_unknown(revision: str) -> None:
    """Raises NewerSchemaError where this MLflow has no such step."""
    _refuse_unknown(revision, _steps(), "MLflow's database")


def refuse_unknown_accounts(revision: str) -> None:
    """The same of the accounts' database."""
    _refuse_unknown(revision, _accounts_steps(), "the database of MLflow's accounts")


def _refuse_unknown(revision: str, steps: Any, what: str) -> None:
    import mlflow
    from alembic.util.exc import CommandError

    try:
        steps.get_revision(revision)
    except CommandError as error:
        raise NewerSchemaError(
            f"{what} has the schema {revision}, which MLflow {mlflow.__version__} does not know: a newer release "
            "has had this home: use that release, or restore a backup that was made before it"
        ) from error


def _steps() -> Any:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_tools()._get_alembic_config(db_url=""))  # noqa: SLF001  - where its steps are


def _accounts_steps() -> Any:
    from alembic.script import ScriptDirectory
    from mlflow.server.auth.db import utils

    return ScriptDirectory.from_config(utils._get_alembic_config(""))  # noqa: SLF001  - where its steps are


def _tools() -> Any:
    from mlflow.store.db import utils

    return utils
