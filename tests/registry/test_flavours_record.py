"""The record of a moved alias is written twice, because the flavour imports nothing of the platform: both are the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from model_wrappers.mlflow_darknet import alias_record
from slipway.registry import ALIAS_TAG, AliasMove, Pointer, aliases, author


def test_limits_and_names_are_the_same() -> None:
    assert alias_record.ALIAS_TAG == ALIAS_TAG
    assert (alias_record.MAX_WHO_CHARS, alias_record.MAX_WHY_CHARS) == (aliases.MAX_WHO_CHARS, aliases.MAX_WHY_CHARS)
    assert alias_record.HUB_USER == author.HUB_USER


@pytest.mark.parametrize("before", ["1", None])
def test_record_of_the_flavour_is_the_platforms_to_the_byte(before: str | None) -> None:
    at = datetime(2026, 2, 3, 4, 5, 6, 789_123, UTC)
    move = AliasMove("yolo", "champion", "2", before, "ann", 'größer "mAP"', "2026-02-03T04:05:06.789Z")
    written = alias_record.render_record(version="2", before=before, who="ann", why=move.why, at=at)
    assert written == aliases.render_tag(move)
    assert aliases._pointer("2", written) == Pointer("2", "ann", move.why, move.at)
    assert json.loads(written) == {key: value for key, value in asdict(move).items() if key not in ("name", "alias")}


@pytest.mark.parametrize("variables", [{"JUPYTERHUB_USER": "ada"}, {"JUPYTERHUB_USER": ""}, {}])
def test_present_user_is_the_same(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert alias_record.present_user() == author.present_user() != ""


def test_user_without_a_name_is_a_number_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 77")

    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    for module in (alias_record, author):
        monkeypatch.setattr(module, "getpass", SimpleNamespace(getuser=nobody))
        monkeypatch.setattr(module, "os", SimpleNamespace(environ={}, getuid=lambda: 77))
    assert alias_record.present_user() == author.present_user() == "uid 77"
