from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from slipway.onebox.services import postgres
from slipway.onebox.services.postgres_setup import ClusterError, ensure_cluster


def test_programs_are_there() -> None:
    for name in ("initdb", "postgres"):
        version = subprocess.check_output([postgres.binary(name), "--version"], text=True)
        assert f"(PostgreSQL) {postgres.MAJOR}." in version


def test_ordinary_user_runs_postgres_as_is() -> None:
    assert postgres.run_as_argv(1000) == ()


def test_root_runs_postgres_as_nobody() -> None:
    argv = postgres.run_as_argv(0)
    assert argv[:2] == ("setpriv", f"--reuid={postgres.NOBODY}")


def test_cluster_of_another_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("16\n")
    with pytest.raises(ClusterError, match="made by PostgreSQL 16, this is 18: dump it"):
        ensure_cluster(tmp_path)


def test_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ClusterError, match="not empty, and no cluster"):
        ensure_cluster(tmp_path)
    assert (tmp_path / "holiday.jpg").exists()
