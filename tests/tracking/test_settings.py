"""The environment of MLflow's Pods is read strictly, and no address in it has a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.tracking import settings
from slipway.tracking.__main__ import main
from slipway.tracking.errors import SettingsError
from slipway.tracking.settings import Account, Databases, Place

URI = "postgresql+psycopg2:///mlflow"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "basic_auth.ini"
    path.write_text(f"[mlflow]\ndatabase_uri = {URI}_auth\n")
    return path


def test_addresses_of_both_databases(config: Path) -> None:
    found = settings.databases({"MLFLOW_BACKEND_STORE_URI": URI, "MLFLOW_AUTH_CONFIG_PATH": str(config)})
    assert found == Databases(URI, f"{URI}_auth")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "MLFLOW_BACKEND_STORE_URI is not set"),
        ("sqlite:///mlflow.db", "sqlite:// is no address of PostgreSQL"),
        ("postgresql+psycopg2://me:secret@db/mlflow", "put it into PGPASSWORD"),
        ("postgresql+psycopg2://me:sec/secret@db/mlflow", "put it into PGPASSWORD"),
        ("postgresql+psycopg2://me:sec@secret@db/mlflow", "put it into PGPASSWORD"),
        ("postgresql+psycopg2://me:@db/mlflow?password=secret", "put it into PGPASSWORD"),
        ("postgresql+psycopg2:///mlflow?user=x&password=secret", "put it into PGPASSWORD"),
        ("postgresql+psycopg2:///mlflow?sslpassword=secret", "put it into PGPASSWORD"),
        ("postgresql+psycopg2://me:secret@db:port/mlflow", "MLFLOW_BACKEND_STORE_URI: is no address"),
        ("me:secret@db", "MLFLOW_BACKEND_STORE_URI: is no address"),
    ],
)
def test_address_that_will_not_do_is_refused_without_its_password(config: Path, uri: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        settings.databases({"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_AUTH_CONFIG_PATH": str(config)})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "[other]\nx=1\n", "no section", "[mlflow]\n"])
def test_broken_configuration_of_accounts_is_told(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "basic_auth.ini"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match="a file with database_uri"):
        settings.databases({"MLFLOW_BACKEND_STORE_URI": URI, "MLFLOW_AUTH_CONFIG_PATH": str(path)})


def test_accounts_are_the_admin_and_a_reader_who_show_no_password() -> None:
    environ = {
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "first-secret",
        "SLIPWAY_READER_USERNAME": "slipway-reader",
        "SLIPWAY_READER_PASSWORD": "second-secret",
    }
    found = settings.accounts(environ)
    assert found == (Account("admin", "first-secret", is_admin=True), Account("slipway-reader", "second-secret"))
    assert "secret" not in repr(found)
    for name in environ:
        with pytest.raises(SettingsError, match=f"{name} is not set"):
            settings.accounts({**environ, name: ""})
    with pytest.raises(SettingsError, match="SLIPWAY_READER_PASSWORD is shorter than 12"):
        settings.accounts({**environ, "SLIPWAY_READER_PASSWORD": "only-eleven"})
    with pytest.raises(SettingsError, match="SLIPWAY_READER_USERNAME=admin: is the admin's name"):
        settings.accounts({**environ, "SLIPWAY_READER_USERNAME": "admin"})


@pytest.mark.parametrize("step", ["migrate", "await-schema", "store", "fetch"])
def test_every_step_refuses_placeholders_before_anything_else(
    step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "CHANGE-ME")
    assert main([step]) == 1
    expected = "MLFLOW_FLASK_SERVER_SECRET_KEY still says CHANGE-ME: put a value of your own into its Secret\n"
    assert capsys.readouterr().err == expected


def test_place_of_backups() -> None:
    assert settings.place({"SLIPWAY_BACKUP_TO": "s3://b/a/c/"}) == Place("b", "a/c", 14)
    found = settings.place({"SLIPWAY_BACKUP_TO": "s3://b", "SLIPWAY_BACKUP_KEEP": "3"})
    assert (found, found.uri) == (Place("b", "", 3), "s3://b")


@pytest.mark.parametrize(
    ("uri", "keep"), [("gs://b", "1"), ("s3://", "1"), ("s3://b", "0"), ("s3://b", "-1"), ("s3://b", "²")]
)
def test_place_that_is_none_is_told(uri: str, keep: str) -> None:
    with pytest.raises(SettingsError):
        settings.place({"SLIPWAY_BACKUP_TO": uri, "SLIPWAY_BACKUP_KEEP": keep})


def test_command_says_in_one_line_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_AUTH_CONFIG_PATH", raising=False)
    assert main(["store"]) == 1
    assert capsys.readouterr().err.startswith("MLFLOW_AUTH_CONFIG_PATH is not set")


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "python -m slipway.tracking migrate" in capsys.readouterr().out
