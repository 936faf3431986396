"""URLs → where a SeldonDeployment answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.client.address import FEEDBACK, PREDICTIONS, Address, parse_address
from slipway.client.errors import InvalidAddress

SDEP = (("seldon", "yolo"), ("namespace", "default"))
GATEWAY = "http://h:8080"


def through(base: str) -> tuple[str, str | None, tuple[tuple[str, str], ...]]:
    return base + PREDICTIONS, base + FEEDBACK, SDEP


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:8080/seldon/default/yolo", Address(GATEWAY, "h:8080", False, *through("/seldon/default/yolo"))),
        ("http://h:8080/seldon/default/yolo/", Address(GATEWAY, "h:8080", False, *through("/seldon/default/yolo"))),
        (
            "http://h:8080/seldon/default/yolo/api/v1.0/predictions",
            Address(GATEWAY, "h:8080", False, *through("/seldon/default/yolo")),
        ),
        (
            "https://h/models/seldon/default/yolo",
            Address("https://h:443", "h:443", True, *through("/models/seldon/default/yolo")),
        ),
        ("http://h:9000", Address("http://h:9000", "h:9000", False, PREDICTIONS, FEEDBACK)),
        ("http://h:9000/", Address("http://h:9000", "h:9000", False, PREDICTIONS, FEEDBACK)),
        ("http://h:9000/predict", Address("http://h:9000", "h:9000", False, PREDICTIONS, FEEDBACK)),
        ("http://[::1]:9000", Address("http://[::1]:9000", "[::1]:9000", False, PREDICTIONS, FEEDBACK)),
        ("http://h/inference", Address("http://h:80", "h:80", False, "/inference", None)),
    ],
)
def test_address_of_every_kind(url: str, expected: Address) -> None:
    assert parse_address(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "yolo",
        "127.0.0.1:8080",
        "ftp://h/x",
        "http://",
        "http://h:x",
        "http://http://h:8080/seldon/default/yolo",
        "http://h:99999",
        "http://u:p@h",
        "http://h/?a=b",
        "http://[::1",
        "http://a\u2100b/",
    ],
)
def test_anything_else_is_refused_with_what_is_expected(url: str) -> None:
    with pytest.raises(InvalidAddress, match="expected http://GATEWAY/seldon"):
        parse_address(url)


@pytest.mark.parametrize("url", ["http://user:geheim@h/seldon/a/b", "ftp://user:geheim@h", "http://user:geheim@h:x"])
def test_a_refused_url_does_not_repeat_its_password(url: str) -> None:
    with pytest.raises(InvalidAddress) as refused:
        parse_address(url)
    assert "geheim" not in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        found = parse_address(text)
    except InvalidAddress:
        return
    assert found.predictions.startswith("/") or found.predictions == ""
