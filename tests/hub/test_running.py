from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.onebox.paths import Paths
from slipway.onebox.services.hub.names import CULLER, MEMORY_WATCH, RESERVED
from slipway.onebox.services.hub.running import HUB_ITSELF, Running, forget_running, load_running, write_running

ADA = Running("ada", "sha256:" + "a" * 64, 1 << 30)


def test_running_servers_are_remembered_and_forgotten(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert load_running(paths) == []
    write_running(paths, ADA)
    write_running(paths, Running(HUB_ITSELF, ADA.image))
    assert load_running(paths) == [Running(HUB_ITSELF, ADA.image), ADA]
    forget_running(paths, "ada")
    forget_running(paths, "ada")
    assert [running.name for running in load_running(paths)] == [HUB_ITSELF]


def test_server_that_ends_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(tmp_path)
    write_running(paths, ADA)
    monkeypatch.setattr(json, "loads", lambda _: (_ for _ in ()).throw(FileNotFoundError))
    assert load_running(paths) == []


def test_services_of_the_hub_are_no_users(tmp_path: Path) -> None:
    assert {CULLER, MEMORY_WATCH} < RESERVED
