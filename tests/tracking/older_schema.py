"""A database as an older MLflow would have left it."""

from __future__ import annotations

from slipway.tracking.schema import _steps, _tools

STEPS_BACK = 12


def make_older_schema(uri: str) -> str:
    """Make MLflow's tables in the empty database at ``uri``, a dozen revisions before the present one; that revision."""
    from alembic import command
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine = _tools().create_sqlalchemy_engine_with_retry(uri)
    Base.metadata.create_all(engine)
    revision: str = _steps().get_current_head()
    for _ in range(STEPS_BACK):
        revision = _steps().get_revision(revision).down_revision
    command.upgrade(_tools()._get_alembic_config(uri), revision)
    engine.dispose()
    return revision
