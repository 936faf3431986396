"""Options of a client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.client import Client, InvalidTls, Tls
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
        ({"token": "schlüssel"}, "header 'authorization'"),
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


@pytest.mark.parametrize("transport", ["rest", "grpc"])
@pytest.mark.parametrize("name", ["gone.pem", "text.pem"])
def test_tls_file_that_is_none_is_named_before_anything_is_sent(transport: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    with (
        Client("https://127.0.0.1:1", transport=transport, tls=Tls(ca_file=tmp_path / name)) as client,
        pytest.raises(InvalidTls, match=f"{name}: .*: PEM files are expected"),
    ):
        client.predict({"strData": "a"})


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_files_for_tls_are_refused_where_there_is_none(transport: Any) -> None:
    with pytest.raises(InvalidTls, match="http://h:1: the files of tls=… are for https://"):
        Client("http://h:1", transport=transport, tls=Tls(ca_file=Path("authority.pem")))


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_key_without_its_certificate_is_refused(transport: Any) -> None:
    with (
        Client("https://127.0.0.1:1", transport=transport, tls=Tls(key_file=Path("key.pem"))) as client,
        pytest.raises(InvalidTls, match=r"key_file=key.pem: certificate_file is missing"),
    ):
        client.predict({"strData": "a"})
