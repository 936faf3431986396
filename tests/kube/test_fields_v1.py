"""FieldsV1: read, written and shown, also what a client made up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.kube.fields_v1 import dotted, from_fields_v1, to_fields_v1, with_parents

ENV = {
    "f:containers": {'k:{"name":"clf"}': {"f:env": {".": {}, 'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}}}
}
CLF = ("f:containers", 'k:{"name":"clf"}', "f:env")
PARTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', "v:1"])


def test_marker_of_a_map_is_its_own_path() -> None:
    variable = (*CLF, 'k:{"name":"A"}')
    found = from_fields_v1(ENV)
    assert found == {CLF, variable, (*variable, "f:name"), (*variable, "f:value")}
    assert to_fields_v1(found) == ENV


@given(st.frozensets(st.lists(PARTS, min_size=1, max_size=4).map(tuple), max_size=8))
def test_what_is_written_is_read_again(fields: frozenset[tuple[str, ...]]) -> None:
    assert from_fields_v1(to_fields_v1(fields)) == fields
    assert fields <= with_parents(fields)


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ('k:{"name":"clf"}', 'containers[name="clf"]'),
        ('k:{"containerPort":80,"protocol":"TCP"}', 'containers[containerPort=80,protocol="TCP"]'),
        ('v:"a"', 'containers[="a"]'),
        ("k:no json", "containers[no json]"),
        ("k:[1]", "containers[[1]]"),
    ],
)
def test_path_is_shown_as_kubernetes_does_whatever_a_client_wrote(part: str, shown: str) -> None:
    assert dotted(("f:containers", part)) == f".{shown}"


@pytest.mark.parametrize("node", [None, [], "x", {"x": {}}, {"f:a": 1}])
def test_what_is_no_set_of_fields_is_an_empty_one(node: Any) -> None:
    assert from_fields_v1(node) == frozenset()
