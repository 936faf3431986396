"""A team's LimitRange refuses none of our own Pods, and what it refuses is what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from slipway.contract.quantity import parse_quantity
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.data import REPOSITORY
from tests.manifests.cluster import templates
from tests.manifests.files import kustomizations, shown
from tests.manifests.kustomizations import built

Object = dict[str, Any]
SELDONS = [
    path for path in kustomizations("Kustomization") if shown(path).startswith(("seldon/base", "seldon/overlays"))
]


def refusals(container: Object) -> Iterator[str]:
    """As Kubernetes' admission has it: a limit of one's own is the request where there is none; otherwise the defaults."""
    (range_,) = [item for item in built(REPOSITORY / "seldon/team") if item["kind"] == "LimitRange"]
    (rule,) = range_["spec"]["limits"]
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    limit = limits.get("memory", rule["default"]["memory"])
    request = requests.get("memory", limits.get("memory", rule["defaultRequest"]["memory"]))
    if parse_quantity(request) > parse_quantity(limit):
        yield f"must be less than or equal to memory limit of {limit}"
    if parse_quantity(limit) > parse_quantity(rule["max"]["memory"]):
        yield f"maximum memory usage per Container is {rule['max']['memory']}"


def pods(folder: str) -> Iterator[Object]:
    objects = built(REPOSITORY / folder)
    for item in objects:
        if item["kind"] == "SeldonDeployment":
            made = desired(SeldonDeployment.from_json(item), Facts())
            yield from (template["spec"] for _, template in templates(made))
    yield from (template["spec"] for _, template in templates(objects))


@pytest.mark.parametrize("folder", [*map(shown, SELDONS), "kubernetes/training/cpu", "kubernetes/training/gpu"])
def test_our_own_pods_are_let_in(folder: str) -> None:
    found = list(pods(folder))
    assert found
    for spec in found:
        for container in (*spec["containers"], *(spec.get("initContainers") or ())):
            assert list(refusals(container)) == [], container["name"]


def test_a_larger_request_without_a_limit_is_refused_in_the_words_of_the_page() -> None:
    assert list(refusals({})) == list(refusals({"resources": {"limits": {"memory": "4Gi"}}})) == []
    (said,) = refusals({"resources": {"requests": {"memory": "4Gi"}}})
    assert said in " ".join((REPOSITORY / "docs" / "tenants.md").read_text().split())
    assert len(list(refusals({"resources": {"limits": {"memory": "65Gi"}}}))) == 1
