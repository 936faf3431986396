from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.serving.errors import ServingError
from slipway.serving.json_body import dump_json, json_depth, parse_json
from slipway.serving.limits import MAX_JSON_DEPTH

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('"[]{}\\ab\n☃')
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('"[{\\a', max_size=4), inner, max_size=4),
    max_leaves=40,
)


def _depth(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if members is None else 1 + max(map(_depth, members), default=0)


@given(VALUES, st.booleans())
def test_json_depth_is_exact_where_there_are_many_brackets(value, ascii_only):
    padded = [value, [[]] * (MAX_JSON_DEPTH + 1)]  # above the limit's number of brackets, so that they are looked at
    assert json_depth(json.dumps(padded, ensure_ascii=ascii_only).encode()) == _depth(padded)


@given(VALUES)
def test_parse_json_reads_what_dump_json_writes(value):
    assert parse_json(dump_json(value)) == value


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_parse_json_refuses_deep_nesting(opening):
    closing = "]" if opening == "[" else "}"
    deepest = opening * MAX_JSON_DEPTH + ("1" if opening != "[" else "") + closing * MAX_JSON_DEPTH
    parse_json(deepest)
    for body in (opening * 1_000_000, f"[{deepest}]"):
        with pytest.raises(ServingError, match="deeper than 100"):
            parse_json(body)


def test_brackets_inside_of_strings_do_not_count():
    assert parse_json(json.dumps("[" * 1000)) == "[" * 1000
    hidden = '{"a":"' + "]" * 500 + '","b":' + "[" * 500 + "]" * 500 + "}"
    with pytest.raises(ServingError, match="deeper"):
        parse_json(hidden)


@pytest.mark.parametrize("body", [b"", b"[", b"\xff", b"1" * 5000, b'{"a":1}x', b"\x00", b"'a'", b"\xfe\xff\x00["])
def test_parse_json_answers_400_for_what_is_no_json(body):
    with pytest.raises(ServingError, match="the body is not JSON") as raised:
        parse_json(body)
    assert raised.value.status_code == 400


def test_byte_order_mark_and_not_a_number_are_taken():
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]
    assert np.isnan(parse_json(b"NaN"))


def test_dump_json_writes_numpy_as_numbers_and_refuses_objects():
    assert dump_json({"a": np.float32(0.5), "b": np.array([1, 2])}) == b'{"a":0.5,"b":[1,2]}'
    with pytest.raises(TypeError, match="object has no JSON form"):
        dump_json(object())


@pytest.mark.parametrize("text", [r'"\ud800"', r'{"a":["\uDFFF"]}', r'{"\ud83d":1}', r'["x\ude00\ud83d"]'])
def test_half_of_a_surrogate_pair_is_refused(text):
    with pytest.raises(ServingError, match="half of a surrogate pair") as raised:
        parse_json(text)
    assert raised.value.status_code == 400


@pytest.mark.parametrize("text", [r'"\ud83d\ude00"', r'"\\ud800"', r'{"\ud83d\ude00":[1]}'])
def test_whole_pairs_and_written_backslashes_are_texts(text):
    assert parse_json(text) == json.loads(text)


def test_more_lists_and_objects_than_the_limit_are_refused_and_brackets_in_texts_are_not_counted():
    for body in (b"[" + b"[]," * 2_200_000 + b"1]", b'[{"a":[]},' + b'{"a":[]},' * 1_100_000 + b"1]"):
        with pytest.raises(ServingError, match="more than 2100000 lists and objects"):
            parse_json(body)
    assert len(parse_json(b'["' + b"[" * 5_000_000 + b'"]')[0]) == 5_000_000
    assert len(parse_json(b"[" + b"1.5," * 2_200_000 + b"1]")) == 2_200_001


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2020, 2, 29, 12, 30, 15, 999), "Sat, 29 Feb 2020 12:30:15 GMT"),  # noqa: DTZ001 - as classes make them
        (datetime(2020, 2, 29, 1, tzinfo=timezone(timedelta(hours=2))), "Fri, 28 Feb 2020 23:00:00 GMT"),
        (date(2020, 2, 29), "Sat, 29 Feb 2020 00:00:00 GMT"),
        (np.array("2020-02-29", dtype="datetime64[D]"), "Sat, 29 Feb 2020 00:00:00 GMT"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_dump_json_writes_dates_identifiers_and_decimals_as_flask_does(value: Any, text: str):
    assert json.loads(dump_json([value])) == [text]
