"""The ``pdbSpec`` of a componentSpec is held to the rules of the budget that is made of it."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.admission import review
from tests.contract.manifests import component, predictor, sdep

PATH = "spec.predictors[0].componentSpecs[0].pdbSpec"


def of(spec: dict[str, Any]) -> dict[str, Any]:
    return sdep(predictor(componentSpecs=[component("clf", pdbSpec=spec)]))


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"minAvailable": 1, "maxUnavailable": 1}, "", "minAvailable and maxUnavailable cannot be both set"),
        ({"minAvailable": -1}, ".minAvailable", "must be greater than or equal to 0"),
        ({"maxUnavailable": "101%"}, ".maxUnavailable", "100% at most"),
        ({"maxUnavailable": True}, ".maxUnavailable", "a whole number or a percentage"),
        ({"minAvailable": ["1"]}, ".minAvailable", "a whole number or a percentage"),
    ],
)
def test_what_makes_no_budget_is_refused_with_its_place(spec: dict[str, Any], field: str, message: str):
    (cause,) = review(of(spec))
    assert cause.field == PATH + field
    assert message in cause.message


@pytest.mark.parametrize("spec", [{}, {"minAvailable": "100%"}, {"maxUnavailable": 0}])
def test_other_budgets_are_taken(spec: dict[str, Any]):
    assert not review(of(spec))
