"""Patches, field ownership and selectors as functions: RFC examples, and properties that hold for any input."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.kube.fields_v1 import EMPTY, from_fields_v1, to_fields_v1
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.ownership import Applied, Entry, Writer, after_update, apply_configuration
from slipway.onebox.api.patches import json_patch, merge_patch, strategic_merge
from slipway.onebox.api.schema import zero
from slipway.onebox.api.selectors import parse_labels, predicate
from slipway.onebox.api.types import load_types

TYPES = load_types()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7386, appendix A, the rows whose target is an object
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_what_rfc_7386_shows(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@given(st.dictionaries(st.text(max_size=3), JSON), st.dictionaries(st.text(max_size=3), JSON))
def test_merge_patch_twice_is_once_and_leaves_its_target(target: Any, patch: Any) -> None:
    before = copy.deepcopy(target)
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    assert target == before


@pytest.mark.parametrize(
    ("target", "operations", "result"),
    [  # RFC 6902, appendix A
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "q"}], {"foo": ["bar", "q", "baz"]}),
        ({"baz": "q", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["a", "q", "b"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["a", "b"]}),
        ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        ({"a": {"x": 1}, "b": {}}, [{"op": "move", "from": "/a/x", "path": "/b/y"}], {"a": {}, "b": {"y": 1}}),
        ({"f": ["a", "b", "c"]}, [{"op": "move", "from": "/f/0", "path": "/f/2"}], {"f": ["b", "c", "a"]}),
        ({"f": ["a"]}, [{"op": "test", "path": "/f/0", "value": "a"}], {"f": ["a"]}),
        ({"foo": "bar"}, [{"op": "add", "path": "/c", "value": {"g": {}}}], {"foo": "bar", "c": {"g": {}}}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["a"]}], {"foo": ["bar", ["a"]]}),
    ],
)
def test_json_patch_does_what_rfc_6902_shows(target: Any, operations: Any, result: Any) -> None:
    assert json_patch(target, operations) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/f/0", "value": "x"},
        {"op": "add", "path": "/no/such", "value": 1},
        {"op": "remove", "path": "/none"},
        {"op": "remove", "path": "/f/7"},
        {"op": "nope", "path": "/f"},
        {"op": "add", "path": "f", "value": 1},
        {"op": "remove", "path": "/f/0/x"},
        {"op": "remove", "path": ""},
        "no operation",
    ],
)
def test_json_patch_that_does_not_fit_is_refused_and_changes_nothing(operation: dict[str, Any]) -> None:
    target = {"f": ["a"]}
    with pytest.raises(Refused):
        json_patch(target, [{"op": "add", "path": "/g", "value": 1}, operation])
    assert target == {"f": ["a"]}


def test_json_patch_whose_copies_double_is_refused_before_it_grows() -> None:
    double = {"op": "copy", "from": "/f", "path": "/f/-"}
    with pytest.raises(Refused) as refused:
        json_patch({"f": ["a" * 100]}, [double] * 200)
    assert refused.value.code == 422


OPERATION = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])},
    optional={
        "path": st.sampled_from(["/a", "/a/0", "/a/-", "/b/c", "/", "", "x", "/a/01"]),
        "from": st.sampled_from(["/a", "/a/0", "/b"]),
        "value": JSON,
    },
)


@given(st.lists(OPERATION, max_size=5), st.dictionaries(st.sampled_from("ab"), JSON))
def test_json_patch_of_anything_is_a_result_or_a_refusal(operations: list[Any], target: Any) -> None:
    try:
        json_patch(target, operations)
    except Refused as refused:
        assert 400 <= refused.code < 500


def containers(*names: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, "image": f"{name}:1"} for name in names]}}


@pytest.mark.parametrize(
    ("patch", "images"),
    [
        ([{"name": "b", "image": "b:2"}], {"a": "a:1", "b": "b:2"}),
        ([{"name": "c", "image": "c:1"}], {"a": "a:1", "b": "b:1", "c": "c:1"}),
        ([{"name": "a", "$patch": "delete"}], {"b": "b:1"}),
        ([{"$patch": "replace"}, {"name": "z", "image": "z:1"}], {"z": "z:1"}),
    ],
)
def test_strategic_merge_follows_the_merge_key(patch: list[Any], images: dict[str, str]) -> None:
    result = strategic_merge(TYPES["Pod"], containers("a", "b"), {"spec": {"containers": patch}})
    assert {item["name"]: item["image"] for item in result["spec"]["containers"]} == images


def test_strategic_merge_without_the_merge_key_is_refused() -> None:
    with pytest.raises(Refused, match="does not contain declared merge key: name"):
        strategic_merge(TYPES["Pod"], containers("a"), {"spec": {"containers": [{"image": "x"}]}})


DATA = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"), max_size=4)
SCHEMA = TYPES["ConfigMap"]


def apply(entries: list[Entry], live: Any, data: dict[str, str], who: str, *, force: bool = False) -> Applied:
    writer = Writer(who, "Apply", "v1")
    config = {"data": data} if data else {}
    return apply_configuration(
        entries, schema=SCHEMA, live=live, config=config, writer=writer, force=force, ignored=EMPTY, now="now"
    )


def owners(applied: Applied, key: str) -> set[str]:
    return {entry.writer.manager for entry in applied.entries if ("f:data", f"f:{key}") in entry.fields}


@given(DATA, DATA)
def test_a_second_manager_conflicts_exactly_where_it_differs(one: dict[str, str], two: dict[str, str]) -> None:
    first = apply([], {}, one, "one")
    differing = {key for key in one.keys() & two.keys() if one[key] != two[key]}
    if differing:
        with pytest.raises(Refused) as refused:
            apply(first.entries, first.obj, two, "two")
        fields = {cause["field"] for cause in refused.value.details["causes"]}  # type: ignore[index]
        assert fields == {f".data.{key}" for key in differing}
    else:
        assert apply(first.entries, first.obj, two, "two").obj.get("data", {}) == one | two


@given(DATA, DATA)
def test_force_takes_fields_over_and_removal_leaves_what_others_own(one: dict[str, str], two: dict[str, str]) -> None:
    first = apply([], {}, one, "one")
    forced = apply(first.entries, first.obj, two, "two", force=True)
    assert forced.obj.get("data", {}) == one | two
    for key, value in two.items():
        assert owners(forced, key) == ({"one", "two"} if one.get(key) == value else {"two"})
    gone = apply(forced.entries, forced.obj, {}, "two")
    left = {key: value for key, value in one.items() if key not in two or two[key] == value}
    assert gone.obj.get("data", {}) == left


@given(DATA, DATA)
def test_an_apply_repeated_changes_nothing(one: dict[str, str], two: dict[str, str]) -> None:
    first = apply([], {}, one, "one")
    forced = apply(first.entries, first.obj, two, "two", force=True)
    again = apply(forced.entries, forced.obj, two, "two")
    assert again.obj == forced.obj
    assert {(e.writer, e.fields) for e in again.entries} == {(e.writer, e.fields) for e in forced.entries}


@given(DATA, DATA)
def test_an_update_owns_what_it_changed_and_fields_survive_their_json(one: dict[str, str], two: dict[str, str]) -> None:
    writer = Writer("me", "Update", "v1")
    entries = after_update(
        [], schema=SCHEMA, old={"data": one}, new={"data": two}, writer=writer, ignored=EMPTY, now="now"
    )
    owned = {path[1].removeprefix("f:") for entry in entries for path in entry.fields if len(path) == 2}
    assert owned == {key for key in two if one.get(key) != two[key]}
    for entry in entries:
        assert from_fields_v1(to_fields_v1(entry.fields)) == entry.fields


@pytest.mark.parametrize(
    ("selector", "matching"),
    [
        ("app=a", {1, 2}),
        ("app==a,tier!=x", {2}),
        ("app in (a, b)", {1, 2, 3}),
        ("app notin (a)", {3, 4}),
        ("tier", {1}),
        ("!tier", {2, 3, 4}),
        ("size>4", {3}),
        ("size<4", {2}),
        ("", {1, 2, 3, 4}),
    ],
)
def test_label_selectors_choose(selector: str, matching: set[int]) -> None:
    labels = {1: {"app": "a", "tier": "x"}, 2: {"app": "a", "size": "3"}, 3: {"app": "b", "size": "5"}, 4: {}}
    matches = predicate(parse_labels(selector), ())
    chosen = {number for number, own in labels.items() if matches is None or matches({"metadata": {"labels": own}})}
    assert chosen == matching


@given(st.text(alphabet="ab=!,() <>in", max_size=20))
def test_a_selector_of_anything_is_read_or_refused_with_400(text: str) -> None:
    try:
        parse_labels(text)
    except Refused as refused:
        assert refused.code == 400


def test_the_empty_object_of_every_type_can_be_made() -> None:
    assert zero(TYPES["Deployment"])["metadata"] == {"creationTimestamp": None}
