"""The validator of structural schemas: what a schema's own instance may be, and what else it may not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.manifests.structural import complaints

Pair = tuple[dict[str, Any], Any]
KEYS = st.sampled_from(["a", "b", "c", "apiVersion", "metadata"])
UNKNOWN = "unknownKey"
TEXT = {"type": "string"}


def of(*kinds: tuple[dict[str, Any], st.SearchStrategy[Any]]) -> st.SearchStrategy[Pair]:
    return st.one_of(*(values.map(lambda value, schema=schema: (schema, value)) for schema, values in kinds))


SCALARS = of(
    ({"type": "string", "maxLength": 3}, st.text(max_size=3)),
    ({"type": "string", "enum": ["x", "y"]}, st.sampled_from(["x", "y"])),
    ({"type": "string", "enum": ["x"], "nullable": True}, st.sampled_from(["x", None])),
    ({"type": "string", "pattern": "^a+$"}, st.sampled_from(["a", "aa"])),
    ({"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9}, st.integers(1, 9)),
    ({"type": "integer", "format": "int32"}, st.integers(-(2**31), 2**31 - 1)),
    ({"type": "boolean"}, st.booleans()),
    ({"type": "number", "nullable": True}, st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    ({"x-kubernetes-int-or-string": True}, st.integers() | st.text(max_size=3)),
    (
        {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
        st.integers() | st.text(max_size=3),
    ),
    (
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        st.dictionaries(st.text(max_size=3), st.integers() | st.lists(st.text(max_size=2), max_size=2), max_size=2),
    ),
)


@st.composite
def arrays(draw: st.DrawFn, below: st.SearchStrategy[Pair]) -> Pair:
    schema, value = draw(below)
    return {"type": "array", "items": schema, "maxItems": 3}, [value] * draw(st.integers(0, 3))


@st.composite
def maps(draw: st.DrawFn, below: st.SearchStrategy[Pair]) -> Pair:
    schema, value = draw(below)
    keys = draw(st.lists(st.text(max_size=3), max_size=3, unique=True))
    return {"type": "object", "additionalProperties": schema}, dict.fromkeys(keys, value)


@st.composite
def records(draw: st.DrawFn, below: st.SearchStrategy[Pair]) -> Pair:
    """Every required key is there, and some of the others."""
    fields = draw(st.dictionaries(KEYS, below, max_size=3))
    required = [key for key in fields if draw(st.booleans())]
    present = {key: value for key, (_, value) in fields.items() if key in required or draw(st.booleans())}
    properties = {key: schema for key, (schema, _) in fields.items()}
    return {"type": "object", "properties": properties, "required": required}, present


PAIRS = st.recursive(SCALARS, lambda below: arrays(below) | maps(below) | records(below), max_leaves=8)


def closed_places(schema: dict[str, Any], value: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The objects inside ``value`` that take no key of which ``schema`` knows nothing, with their paths."""
    found: list[tuple[str, dict[str, Any]]] = []
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += closed_places(schema.get("items", {}), item, f"{path}[{index}]")
    elif isinstance(value, dict) and "properties" in schema:
        found.append((path or ".", value))
        for key, item in value.items():
            found += closed_places(schema["properties"][key], item, f"{path}.{key}")
    elif isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for key, item in value.items():
            found += closed_places(schema["additionalProperties"], item, f"{path}.{key}")
    return found


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(PAIRS)
def test_an_instance_of_a_schema_has_no_complaints(pair):
    schema, value = pair
    assert complaints(schema, value) == []


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(records(PAIRS), st.data())
def test_an_unknown_key_anywhere_is_a_complaint_at_its_place(pair, data):
    schema, value = pair
    path, place = data.draw(st.sampled_from(closed_places(schema, value)))
    place[UNKNOWN] = 1
    said = complaints(schema, value)
    assert said
    assert all(UNKNOWN in item for item in said)
    assert any(item.startswith(f"{path}: ") for item in said)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(records(PAIRS), st.data())
def test_a_required_key_that_is_missing_is_a_complaint(pair, data):
    schema, value = pair
    schema = {**schema, "properties": {**schema["properties"], "must": TEXT}, "required": ["must"]}
    assert complaints(schema, {**value, "must": data.draw(st.text(max_size=2))}) == []
    assert complaints(schema, value) == [".: 'must' is a required property"]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (TEXT, 1),
        (TEXT, None),
        ({"type": "integer"}, "1"),
        ({"type": "integer"}, True),
        ({"type": "integer", "format": "int32"}, 2**31),
        ({"type": "integer", "format": "int64"}, 2**63),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": True}, 0),
        ({"type": "string", "format": "byte"}, "?"),
        ({"type": "string", "pattern": "^a+$"}, "b"),
        ({"type": "string", "enum": ["x"]}, "y"),
        ({"x-kubernetes-int-or-string": True}, [1]),
        ({"type": "object"}, {"a": 1}),
        ({"type": "object", "additionalProperties": TEXT}, {"a": 1}),
        ({"type": "array", "items": TEXT, "maxItems": 1}, ["a", "b"]),
        ({"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}, ["a", "a"]),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"name": TEXT, "of": TEXT}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            [{"name": "a", "of": "b"}, {"name": "a"}],
        ),
        (
            {
                "type": "object",
                "properties": {"a": TEXT, "b": TEXT},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
            },
            {"a": "x", "b": "y"},
        ),
    ],
)
def test_what_breaks_the_schema_is_a_complaint(schema, value):
    assert len(complaints(schema, value)) == 1


def test_an_embedded_object_has_an_identity_and_known_metadata():
    schema = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": TEXT}}
    whole = {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "labels": {"b": "c"}}, "spec": "x"}
    assert complaints(schema, whole) == []
    assert complaints(schema, {**whole, "metadata": {"nam": "a"}})
    assert complaints(schema, {**whole, "metadata": {"labels": {"b": 1}}})
    assert complaints(schema, {"spec": "x"})
    assert complaints({"type": "object", "properties": {"spec": TEXT}}, whole, is_object=True) == []
