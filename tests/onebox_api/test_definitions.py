"""A definition that the server could not read is refused: it would keep the next start from coming up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.onebox.api.crds import builtin_crds, check_crd
from slipway.onebox.api.structural import check_schema
from tests.onebox_api.conftest import ApiProcess


@pytest.mark.parametrize("crd", builtin_crds(), ids=lambda crd: crd["spec"]["names"]["plural"])
def test_our_own_definitions_pass_the_check(crd: dict[str, Any]) -> None:
    assert not check_crd(crd, None)


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ([], "s"),
        ({"type": "map"}, "s.type"),
        ({"properties": []}, "s.properties"),
        ({"properties": {"a": {"pattern": "("}}}, "s.properties[a].pattern"),
        ({"items": {"required": [1]}}, "s.items.required"),
        ({"x-kubernetes-list-type": "map"}, "s.x-kubernetes-list-map-keys"),
        ({"minimum": "0"}, "s.minimum"),
    ],
)
def test_a_schema_that_cannot_be_read_is_refused_at_its_field(schema: Any, field: str) -> None:
    assert [cause.field for cause in check_schema(schema, "s")] == [field]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("sdep", "A graph of models, in one or several versions"),
        ("sdep.spec.predictors", "traffic\t<integer>\n    Percent of the requests."),
        ("sdep.spec.predictors.graph.children", "modelUri\t<string>\n    Where the model is: models:/name/version"),
        ("sdep.spec.predictors.componentSpecs.pdbSpec", "DESCRIPTION:\n    Makes a PodDisruptionBudget"),
    ],
)
def test_kubectl_explains_a_seldon_deployment(api: ApiProcess, path: str, words: str) -> None:
    assert words in api.kubectl("explain", path)


def test_kubectl_applies_the_definition_with_all_that_it_says(api: ApiProcess) -> None:
    """Without --server-side the whole object goes into one annotation."""
    crd = str(Path(__file__).parents[2] / "kubernetes/crd/seldondeployments.yaml")
    assert "configured" in api.kubectl("apply", "-f", crd)
    assert "unchanged" in api.kubectl("apply", "-f", crd)
