"""What one manifest says of another's Pods and ports is what that other one has: labels of policies and monitors."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.data import REPOSITORY
from tests.manifests.cluster import ends, templates
from tests.manifests.flows import selects
from tests.manifests.kustomizations import built

Object = dict[str, Any]
SELECTORS = {
    "Service": "selector",
    "PodDisruptionBudget": "selector",
    "NetworkPolicy": "podSelector",
    "ServiceMonitor": "selector",
    "PodMonitor": "selector",
}
"""Kind → where its ``spec`` says which Pods, or Services, it means."""


def one(folder: str, kind: str, name: str) -> Object:
    (found,) = [item for item in built(REPOSITORY / folder) if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def labels_of_pods(folder: str, kind: str, name: str) -> dict[str, str]:
    spec = one(folder, kind, name)["spec"]
    template = (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]
    found: dict[str, str] = template["metadata"]["labels"]
    return found


def test_every_selector_takes_something_that_is_rendered() -> None:
    """Of Services, PodDisruptionBudgets, NetworkPolicies and monitors; the gateway's and the database's Pods are others'."""
    assert nothing_selected(rendered(), others()) == []


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("Service", "mlflow", ("spec", "selector")),
        ("Service", "slipway-webhook", ("spec", "selector")),
        ("PodDisruptionBudget", "slipway-controller", ("spec", "selector", "matchLabels")),
        ("PodDisruptionBudget", "slipway-webhook", ("spec", "selector", "matchLabels")),
        ("NetworkPolicy", "mlflow-db", ("spec", "podSelector", "matchLabels")),
        ("NetworkPolicy", "slipway-webhook", ("spec", "podSelector", "matchLabels")),
        ("ServiceMonitor", "slipway-controller", ("spec", "selector", "matchLabels")),
        ("PodMonitor", "slipway-gateway", ("spec", "selector", "matchLabels")),
        ("PodMonitor", "slipway-pods", ("spec", "selector", "matchLabels")),
    ],
)
def test_a_selector_that_takes_nothing_is_found(kind: str, name: str, path: tuple[str, ...]) -> None:
    objects = deepcopy(rendered())
    (below,) = [item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    for key in path:
        below = below.setdefault(key, {})
    below["misspelt"] = "x"
    assert nothing_selected(objects, others()) == [f"{kind} {name}"]


def test_a_selector_that_takes_pods_of_another_namespace_only_is_found() -> None:
    objects = deepcopy(rendered())
    (service,) = [item for item in objects if (item["kind"], item["metadata"]["name"]) == ("Service", "mlflow")]
    service["metadata"]["namespace"] = "elsewhere"
    assert nothing_selected(objects, others()) == ["Service mlflow"]


def rendered() -> list[Object]:
    """All that the platform applies, and the objects that the controller makes of one SeldonDeployment."""
    folders = ("kubernetes", "mlflow/overlays/cnpg", "monitoring/kubernetes")
    (document,) = built(REPOSITORY / "seldon/overlays/separate-orchestrator")
    made = desired(SeldonDeployment.from_json(document), Facts())
    return [*(item for folder in folders for item in built(REPOSITORY / folder)), *made]


def others() -> list[tuple[str, dict[str, str]]]:
    return [(ends()[name].namespace, ends()[name].labels) for name in ("gateway", "database")]


def nothing_selected(objects: list[Object], pods: list[tuple[str, dict[str, str]]]) -> list[str]:
    """``Kind name`` of each object whose selector takes no Pod, or, of a ServiceMonitor, no Service.

    ``pods`` are (namespace, labels). Monitors look into the namespaces that they say; the others into their own.
    """
    made = [*pods, *((_namespace(item), template["metadata"]["labels"]) for item, template in templates(objects))]
    services = [
        (_namespace(item), item["metadata"].get("labels") or {}) for item in objects if item["kind"] == "Service"
    ]
    found = []
    for item in objects:
        where = SELECTORS.get(item["kind"])
        selector = item["spec"].get(where) if where else None
        if selector is None:
            continue
        wanted = {"matchLabels": selector} if item["kind"] == "Service" else selector
        looks_beyond = "namespaceSelector" in item["spec"]
        if not any(
            selects(wanted, labels) and (looks_beyond or namespace == _namespace(item))
            for namespace, labels in (services if item["kind"] == "ServiceMonitor" else made)
        ):
            found.append(f"{item['kind']} {item['metadata']['name']}")
    return found


def _namespace(item: Object) -> str:
    found: str = item["metadata"].get("namespace", "")
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


def test_prometheus_asks_for_ports_that_a_team_s_pods_name() -> None:
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
    assert asked <= ports
