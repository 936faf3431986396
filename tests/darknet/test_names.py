from __future__ import annotations

from pathlib import Path

import pytest

from model_wrappers.darknet.errors import NamesError
from model_wrappers.darknet.names import MAX_NAMES_BYTES, load_names, parse_names
from tests.data import SHARED_DATA


@pytest.mark.parametrize("text", ["a\nb c\n", "a\r\nb c\r\n", "a\nb c", "a\nb c\n\n  \n", "\ta \n b c\n"])
def test_parse_takes_line_ends_and_spaces(text: str) -> None:
    assert parse_names(text, classes=2) == ("a", "b c")


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("", None, "n: is empty: one class name per line is expected"),
        ("a\n\nb\n", None, "n: line 2: a class name of 1 to 200 printable characters is expected"),
        ("a\x07\n", None, "n: line 1: a class name of 1 to 200 printable characters is expected"),
        ("a" * 201, None, "n: line 1: a class name of 1 to 200 printable characters is expected"),
        ("a\nb\n", 3, "n: has 2 names, but the cfg has classes=3"),
    ],
)
def test_parse_refuses(text: str, classes: int | None, message: str) -> None:
    with pytest.raises(NamesError) as caught:
        parse_names(text, path="n", classes=classes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>", "is an HTML page, not Darknet names"),
        (b"[net]\nbatch=1", "is a cfg, not names"),
        (b"\x00\x00\x00\x00\x02\x00", "is binary, not Darknet names: is it swapped with the weights?"),
        (b"caf\xe9\n", "is not UTF-8 text at byte 3"),
        (b"a\n" * MAX_NAMES_BYTES, "is larger than"),
    ],
)
def test_load_says_what_the_file_is_instead(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.names"
    path.write_bytes(data)
    with pytest.raises(NamesError) as caught:
        load_names(path)
    assert message in str(caught.value)


def test_load_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NamesError, match="cannot be read: No such file"):
        load_names(tmp_path / "none.names")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "count", "last"), [("coco", 80, "toothbrush"), ("voc", 20, "tvmonitor"), ("body", 1, "body")]
)
def test_load_reads_published_names(name: str, count: int, last: str) -> None:
    assert load_names(SHARED_DATA / "names" / f"{name}.names", count)[-1] == last
