"""The Pod's annotations file."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.serving.podinfo import AnnotationError, annotations_file, parse_annotations, read_annotations, whole_number


def test_annotations_are_plain_or_quoted_with_blank_lines_and_equals_signs() -> None:
    text = 'a="1"\n\nb=2\nc="x=y"\nd="say \\"hi\\""\ne="\\x00"\n'
    assert parse_annotations(text, where="f") == {"a": "1", "b": "2", "c": "x=y", "d": 'say "hi"', "e": "\\x00"}


def test_malformed_annotations_name_the_line() -> None:
    with pytest.raises(AnnotationError, match=r"f:2: 'nonsense' is not"):
        parse_annotations('a="1"\nnonsense\n', where="f")


def test_missing_file_is_no_annotation_and_an_unreadable_one_is_an_error(tmp_path: Path) -> None:
    assert read_annotations(tmp_path / "missing") == {}
    (tmp_path / "binary").write_bytes(b'a="\xff"\n')
    for path in (tmp_path, tmp_path / "binary"):
        with pytest.raises(AnnotationError, match=str(path)):
            read_annotations(path)


def test_file_is_where_the_environment_says() -> None:
    assert annotations_file({}) == Path("/etc/podinfo/annotations")
    assert annotations_file({"SLIPWAY_ANNOTATIONS_FILE": "/a/b"}) == Path("/a/b")


@pytest.mark.parametrize("text", ["", "-1", "0", "1.5", "9" * 12, "10MB", "\u00b2"])
def test_number_out_of_range_names_the_annotation(text: str) -> None:
    with pytest.raises(AnnotationError, match="annotation size: "):
        whole_number({"size": text}, "size")


def test_number_is_read_where_it_is_given() -> None:
    assert whole_number({}, "size") is None
    assert whole_number({"size": "100"}, "size") == 100
