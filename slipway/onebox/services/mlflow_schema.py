"""MLflow's database is brought to the schema of the MLflow that serves it: what `mlflow db upgrade` does, at the start.

Each schema has a revision (Alembic's), and MLflow carries the steps from every older one. It refuses to serve an older
database, and fails somewhere in the middle on a newer one.
"""

from __future__ import annotations

from typing import Any


class NewerSchemaError(Exception):
    """A newer MLflow has had this database; the message says what to do."""


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
        _refuse_unknown(revision, script)
        tools._upgrade_db(engine)  # noqa: SLF001  - what `mlflow db upgrade` calls
    finally:
        engine.dispose()
    return True


def _steps() -> Any:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_tools()._get_alembic_config(db_url=""))  # noqa: SLF001  - where its steps are


def _tools() -> Any:
    from mlflow.store.db import utils

    return utils


def _refuse_unknown(revision: str, script: Any) -> None:
    import mlflow
    from alembic.util.exc import CommandError

    try:
        script.get_revision(revision)
    except CommandError as error:
        raise NewerSchemaError(
            f"MLflow's database has the schema {revision}, which MLflow {mlflow.__version__} does not know: a newer release "
            "has had this home: use that release, or restore a backup that was made before it"
        ) from error
