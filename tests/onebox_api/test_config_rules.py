"""How much a ConfigMap and a Secret may hold."""

from __future__ import annotations

import base64

import pytest

from slipway.onebox.api.rules import MAX_CONFIG_BYTES, check_config_map, check_secret


def encoded(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    ("obj", "fields"),
    [
        ({"data": {"k": "ä" * (MAX_CONFIG_BYTES // 2)}}, []),
        ({"data": {"k": "ä" * (MAX_CONFIG_BYTES // 2)}, "binaryData": {"l": encoded(1)}}, ["[]"]),
        ({"binaryData": {"k": encoded(MAX_CONFIG_BYTES)}}, []),
        ({"binaryData": {"k": encoded(MAX_CONFIG_BYTES - 1), "l": encoded(2)}}, ["[]"]),
    ],
)
def test_a_config_map_holds_a_mebibyte(obj: dict[str, object], fields: list[str]) -> None:
    assert [cause.field for cause in check_config_map(obj, None)] == fields


@pytest.mark.parametrize(("size", "fields"), [(MAX_CONFIG_BYTES, []), (MAX_CONFIG_BYTES + 1, ["data"])])
def test_a_secret_holds_a_mebibyte(size: int, fields: list[str]) -> None:
    assert [cause.field for cause in check_secret({"data": {"k": encoded(size)}}, None)] == fields
