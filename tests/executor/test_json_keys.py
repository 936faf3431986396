"""Renaming a key at the top of a JSON object."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.executor.json_keys import MAX_PREFIX_BYTES, renamed_key

KEYS = st.sampled_from(["outputs", "inputs", "id", 'a"outputs":', "parameters", "\\", "é"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.sampled_from([None, 1]), st.booleans())
@settings(deadline=None)
def test_renamed_object_is_the_same_but_for_the_key(
    fields: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode()
    renamed = renamed_key(body, "outputs", "inputs")
    if renamed is not None:
        wanted = {"inputs" if key == "outputs" else key: value for key, value in fields.items()}
        assert json.loads(renamed) == wanted


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"inputs":1}', b'{"inputs":1,"outputs":2}', b'{"a":{"outputs":1}}', b'["outputs":1]', b'{"outputs"}',
     b'{"a":"\\"outputs\\":1"}', b"{" + b" " * MAX_PREFIX_BYTES + b'"outputs":1}'],
)  # fmt: skip
def test_what_needs_a_closer_look_is_left_to_it(body: bytes) -> None:
    assert renamed_key(body, "outputs", "inputs") is None


def test_values_keep_every_byte() -> None:
    body = b'{"id":"7", "outputs" : [{"data":[1.0,1E5,0.10]}]}'
    assert renamed_key(body, "outputs", "inputs") == b'{"id":"7", "inputs" : [{"data":[1.0,1E5,0.10]}]}'
