"""What one machine's API refuses of a SeldonDeployment beyond the contract's own rules."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.predictor_servers import CLUSTER_ONLY, SHIPPED
from slipway.onebox.api.admission import review_seldon_deployment
from tests.contract.manifests import component, node, predictor, sdep


def causes(implementation: str, **fields: Any) -> list[tuple[str, str]]:
    graph = node(implementation=implementation, modelUri="models:/yolov3@champion")
    found = review_seldon_deployment(sdep(predictor(graph=graph, **{"componentSpecs": [], **fields}), protocol="v2"))
    return [(cause.field, cause.message) for cause in found]


@pytest.mark.parametrize("implementation", sorted(SHIPPED))
def test_shipped_servers_need_no_image(implementation):
    assert causes(implementation) == []


@pytest.mark.parametrize("implementation", CLUSTER_ONLY)
@pytest.mark.parametrize("components", [[], [component("clf")]])
def test_servers_of_others_are_refused_with_and_without_an_image(implementation, components):
    ((field, message),) = causes(implementation, componentSpecs=components)
    assert field == "spec.predictors[0].graph"
    assert implementation in message
    assert "--predictor-servers" in message


def test_server_of_the_readers_own_needs_its_image():
    assert causes("MY_SERVER", componentSpecs=[component("clf")]) == []
    ((_, message),) = causes("MY_SERVER")
    assert message.startswith("node 'clf': no image, and MY_SERVER is no known server (DARKNET_SERVER, MLFLOW_SERVER")
