"""On a cluster a Pod serves on until its callers know that it goes; on one machine they know before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from slipway.contract.sdep import SeldonDeployment
from slipway.controller import ending
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.executor.settings import parse_settings
from slipway.serving.lifecycle import Shutdown
from slipway.serving.limits import DRAIN_S, GRACE_S
from tests.contract.manifests import Manifest, component, node, predictor, sdep
from tests.controller.cases import SETTINGS

ONE_MACHINE = replace(SETTINGS, has_own_mesh=True)
ENGINE = "seldon-container-engine"


def pods(manifest: Manifest, settings: Any = SETTINGS) -> Iterator[dict[str, Any]]:
    for obj in desired(SeldonDeployment.from_json(manifest), Facts(settings)):
        if obj["kind"] == "Deployment":
            yield obj["spec"]["template"]["spec"]


def executor_end(pod: dict[str, Any]) -> Shutdown:
    (engine,) = [item for item in pod["containers"] if item["name"] == ENGINE]
    return parse_settings(engine["args"], {}).shutdown


def test_executor_of_a_cluster_serves_until_nobody_sends_it_anything() -> None:
    (pod,) = pods(sdep(predictor()))
    assert executor_end(pod) == Shutdown(ending.CLUSTER_DRAIN_S, GRACE_S)
    assert ending.CLUSTER_DRAIN_S >= 5
    assert pod["terminationGracePeriodSeconds"] == ending.CLUSTER_GRACE_S


def test_pod_of_one_machine_ends_as_fast_as_ever() -> None:
    (pod,) = pods(sdep(predictor()), ONE_MACHINE)
    assert executor_end(pod) == Shutdown(DRAIN_S, GRACE_S)
    assert pod["terminationGracePeriodSeconds"] == ending.GRACE_S == 20
    assert not any("lifecycle" in item for item in pod["containers"])


@pytest.mark.parametrize("annotations", [{}, {"seldon.io/engine-separate-pod": "true"}], ids=["beside", "separate"])
def test_nodes_of_a_cluster_outlive_the_executor_s_drain(annotations: dict[str, str]) -> None:
    found = [item for pod in pods(sdep(predictor(), annotations=annotations)) for item in pod["containers"]]
    assert {item["name"]: item.get("lifecycle") for item in found} == {"clf": ending.NODE_DELAY, ENGINE: None}
    assert ending.NODE_DELAY_S > ending.CLUSTER_DRAIN_S


def test_prepackaged_server_outlives_it_with_its_sidecars() -> None:
    graph = node(implementation="TENSORFLOW_SERVER", modelUri="s3://bucket/iris")
    servers = replace(SETTINGS, predictor_servers={"TENSORFLOW_SERVER": "seldonio/tfserving-proxy:1.17.1"})
    (pod,) = pods(sdep(predictor(graph=graph, componentSpecs=[])), servers)
    nodes = [item for item in pod["containers"] if item["name"] != ENGINE]
    assert len(nodes) > 0
    assert all(item["lifecycle"] == ending.NODE_DELAY for item in nodes)


@pytest.mark.parametrize("given", [{}, {"preStop": {"sleep": {"seconds": 3}}}, {"postStart": {"exec": {}}}], ids=str)
def test_manifest_s_own_lifecycle_and_grace_stay(given: dict[str, Any]) -> None:
    one = component("clf")
    one["spec"]["containers"][0]["lifecycle"] = given
    one["spec"]["terminationGracePeriodSeconds"] = 7
    (pod,) = pods(sdep(predictor(componentSpecs=[one])))
    (clf,) = [item for item in pod["containers"] if item["name"] == "clf"]
    assert clf["lifecycle"] == given
    assert pod["terminationGracePeriodSeconds"] == 7
