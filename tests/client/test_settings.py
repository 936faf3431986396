"""Options of a client."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.client import Client
from slipway.client.settings import Settings


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"transport": "http"}, "transport='http' is not one of rest, grpc"),
        ({"form": "base64"}, "form='base64' is not one of"),
        ({"transport": "grpc", "form": "image"}, "transport=grpc"),
        ({"timeout_s": 0}, "timeout_s=0"),
        ({"timeout_s": float("inf")}, "timeout_s=inf"),
        ({"attempts": 0}, r"attempts=0 is not within 1\.\.10"),
        ({"attempts": 11}, "attempts=11"),
        ({"headers": {"a b": "c"}}, "header 'a b'"),
        ({"headers": {"a": "b\r\nc: d"}}, "header 'a'"),
        ({"token": "x\ny"}, "header 'authorization'"),
    ],
)
def test_option_that_makes_no_sense_is_refused_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Client("http://h:1", **options)


def test_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="retries"):
        Client("http://h:1", retries=3)  # type: ignore[call-arg]


def test_secrets_are_in_no_repr() -> None:
    assert "geheim" not in repr(Settings(token="geheim", headers={"x-key": "geheim"}))
    assert Settings(token="t", headers={"X-Key": "v"}).sent_headers == {"authorization": "Bearer t", "x-key": "v"}
