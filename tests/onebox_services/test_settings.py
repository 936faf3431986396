from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from slipway.onebox.settings import (
    INTERNAL,
    Settings,
    SettingsError,
    load_settings,
    save_settings,
    with_internal_ports,
    with_ports,
)


def test_settings_default_to_the_documented_ports(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "settings.json")
    assert (settings.gateway_port, settings.api_port, settings.mlflow_port, settings.s3_port) == (
        8080,
        8001,
        5000,
        8333,
    )


def test_settings_are_remembered(tmp_path: Path) -> None:
    chosen = with_ports(Settings(), {"gateway_port": 9090, "api_port": None})
    save_settings(tmp_path / "home" / "settings.json", chosen)
    assert load_settings(tmp_path / "home" / "settings.json") == chosen
    assert (chosen.gateway_port, chosen.api_port) == (9090, 8001)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ('{"gatewayport": 1}', r"unknown settings \['gatewayport'\]: known are \['api_port'"),
        ("[]", "unknown settings"),
        ('{"api_port": 0}', "api_port: 0 is not a port: expected a number from 1 to 65535"),
        ('{"api_port": "8001"}', "api_port: '8001' is not a port"),
        ('{"api_port": 8080}', "two settings have the same port"),
        ('{"cluster_network": "10.0.0.0/20"}', "cluster_network: 10.0.0.0/20: expected a part of 127.96.0.0/12"),
        ('{"cluster_network": "127.96.0.7/20"}', "cluster_network: 127.96.0.7/20 has host bits set: expected a part"),
    ],
)
def test_broken_settings_say_what_would_be_right(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=message):
        load_settings(path)


def test_internal_ports_are_picked_once_and_kept() -> None:
    first = with_internal_ports(Settings(), taken=())
    numbers = [getattr(first, name) for name in INTERNAL]
    assert all(numbers)
    assert len(set(numbers)) == len(INTERNAL)
    assert with_internal_ports(first, taken=()) == first


def test_internal_port_that_somebody_took_is_picked_anew() -> None:
    first = with_internal_ports(Settings(), taken=())
    with socket.create_server(("127.0.0.1", first.s3_object_port)):
        second = with_internal_ports(first, taken=[first.s3_object_port])
    assert second.s3_object_port != first.s3_object_port
    assert second.s3_account_port == first.s3_account_port


def test_settings_file_holds_every_setting_by_name(tmp_path: Path) -> None:
    save_settings(tmp_path / "settings.json", Settings())
    assert json.loads((tmp_path / "settings.json").read_text()).keys() == Settings.__dataclass_fields__.keys()
