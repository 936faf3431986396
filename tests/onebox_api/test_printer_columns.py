"""Columns that a definition brings, as an API server prints them."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.onebox.api.columns import NODE, custom_columns

OBJECT = {
    "metadata": {"name": "x"},
    "spec": {"predictors": [{"name": "a", "traffic": 90}, {"name": "b", "traffic": 10}], "on": True, "none": []},
    "status": {"split": "a 90, b 10"},
}


@pytest.mark.parametrize(
    ("path", "kind", "cell"),
    [
        (".status.split", "string", "a 90, b 10"),
        (".spec.predictors[*].name", "string", "a"),
        (".spec.predictors[*].traffic", "integer", 90),
        (".spec.predictors[1].traffic", "string", "10"),
        (".spec.predictors[0]", "string", '{"name":"a","traffic":90}'),
        (".spec.on", "string", "true"),
        (".spec.on", "boolean", True),
        (".spec.none[*].name", "string", None),
        (".status.absent", "string", None),
    ],
)
def test_a_cell_is_one_value_and_of_several_the_first(path: str, kind: str, cell: Any) -> None:
    """As apiextensions-apiserver does it: the first result, as text where the column is one (tableconvertor)."""
    name, column = custom_columns([{"name": "C", "type": kind, "jsonPath": path}])
    assert (name.cell(OBJECT), column.cell(OBJECT)) == ("x", cell)


@pytest.mark.parametrize(
    ("labels", "roles"),
    [
        ({}, "<none>"),
        ({"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}, "control-plane,worker"),
    ],
)
def test_a_node_shows_the_roles_of_its_labels(labels: dict[str, str], roles: str) -> None:
    column = next(one for one in NODE if one.name == "Roles")
    assert column.cell({"metadata": {"labels": labels}}) == roles
