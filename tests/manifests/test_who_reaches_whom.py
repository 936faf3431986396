"""What one manifest says of another's Pods and ports is what that other one has: labels of policies and monitors."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.data import REPOSITORY
from tests.manifests.kustomizations import built

Object = dict[str, Any]


def one(folder: str, kind: str, name: str) -> Object:
    (found,) = [item for item in built(REPOSITORY / folder) if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def labels_of_pods(folder: str, kind: str, name: str) -> dict[str, str]:
    spec = one(folder, kind, name)["spec"]
    template = (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]
    found: dict[str, str] = template["metadata"]["labels"]
    return found


def takes(selector: Object, labels: dict[str, str]) -> bool:
    wanted: dict[str, str] = selector["matchLabels"]
    return wanted.items() <= labels.items()


def peers(policy: Object) -> list[Object]:
    return [item for rule in policy["spec"]["ingress"] for item in rule.get("from", ())]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("Deployment", "mlflow"), ("Job", "mlflow-migrate"), ("CronJob", "mlflow-backup"), ("CronJob", "mlflow-restore")],
)
def test_all_of_mlflow_is_fenced_in_and_may_ask_its_database(kind: str, name: str) -> None:
    labels = labels_of_pods("mlflow/overlays/cnpg", kind, name)
    assert takes(one("mlflow/base", "NetworkPolicy", "mlflow")["spec"]["podSelector"], labels)
    database = one("mlflow/overlays/cnpg", "NetworkPolicy", "mlflow-db")
    assert any(takes(item["podSelector"], labels) for item in peers(database) if "podSelector" in item)
    policy = one("mlflow/base", "NetworkPolicy", "mlflow-server")["spec"]["podSelector"]
    service = {"matchLabels": one("mlflow/base", "Service", "mlflow")["spec"]["selector"]}
    assert takes(policy, labels) == takes(service, labels) == (kind == "Deployment")


def test_mlflow_answers_the_controller_and_tenants() -> None:
    policy = one("mlflow/base", "NetworkPolicy", "mlflow-server")
    controller = labels_of_pods("kubernetes", "Deployment", "slipway-controller")
    beside = [item for item in peers(policy) if "namespaceSelector" not in item]
    assert any(takes(item["podSelector"], controller) for item in beside)
    tenant = one("seldon/team", "Namespace", "tenant")["metadata"]["labels"]
    whole = [item for item in peers(policy) if "podSelector" not in item]
    assert any(takes(item["namespaceSelector"], tenant) for item in whole)


def test_team_reaches_mlflow() -> None:
    rules = one("seldon/team", "NetworkPolicy", "tenant-to")["spec"]["egress"]
    server = labels_of_pods("mlflow/base", "Deployment", "mlflow")
    there = {"kubernetes.io/metadata.name": one("mlflow/base", "Deployment", "mlflow")["metadata"]["namespace"]}
    assert any(
        takes(item["namespaceSelector"], there) and takes(item["podSelector"], server)
        for rule in rules
        for item in rule.get("to", ())
        if item.keys() == {"namespaceSelector", "podSelector"}
    )


def test_prometheus_finds_the_controller_s_service_and_its_port() -> None:
    monitor = one("monitoring/kubernetes", "ServiceMonitor", "slipway-controller")
    service = one("kubernetes", "Service", "slipway-controller")
    assert takes(monitor["spec"]["selector"], service["metadata"]["labels"])
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"]
    assert {item["port"] for item in monitor["spec"]["endpoints"]} == {
        item["name"] for item in service["spec"]["ports"]
    }


def test_prometheus_finds_the_database_s_pods() -> None:
    cluster = one("mlflow/overlays/cnpg", "Cluster", "mlflow-db")["metadata"]
    monitor = one("monitoring/kubernetes", "PodMonitor", "mlflow-db")
    assert monitor["spec"]["selector"]["matchLabels"] == {"cnpg.io/cluster": cluster["name"]}
    assert monitor["metadata"]["namespace"] == cluster["namespace"]


def test_prometheus_may_reach_a_team_s_metrics_at_the_ports_that_pods_name() -> None:
    (document,) = built(REPOSITORY / "seldon/base/yolo")
    (deployment,) = [
        item for item in desired(SeldonDeployment.from_json(document), Facts()) if item["kind"] == "Deployment"
    ]
    ports = {
        port["name"] for item in deployment["spec"]["template"]["spec"]["containers"] for port in item.get("ports", ())
    }
    asked = {
        item["port"]
        for item in one("monitoring/kubernetes", "PodMonitor", "slipway-pods")["spec"]["podMetricsEndpoints"]
    }
    (rule,) = [
        item
        for item in one("seldon/team", "NetworkPolicy", "tenant-from")["spec"]["ingress"]
        if any("monitoring" in str(peer) for peer in item["from"])
    ]
    assert asked <= ports
    assert asked <= {item["port"] for item in rule["ports"]}
