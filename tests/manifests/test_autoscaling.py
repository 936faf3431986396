"""The autoscalers of seldon/components are about the Deployments that the controller makes, and ask what there is to ask."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.settings import Settings
from tests.data import REPOSITORY
from tests.manifests.kustomizations import built
from tests.monitoring.prometheus import MONITORING, promtool

Object = dict[str, Any]
OVERLAYS = REPOSITORY / "seldon" / "overlays"
BASE = REPOSITORY / "seldon" / "base" / "yolo"


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def made(overlay: str) -> list[Object]:
    """What the controller makes of the overlay's SeldonDeployment, where KEDA is."""
    (document,) = of_kind(built(OVERLAYS / overlay), "SeldonDeployment")
    return desired(SeldonDeployment.from_json(document), Facts(settings=Settings(has_keda=True)))


def test_recommendations_are_for_the_deployments_that_there_are_and_change_nothing() -> None:
    recommended = of_kind(built(OVERLAYS / "autoscale-vpa"), "VerticalPodAutoscaler")
    deployments = of_kind(made("autoscale-vpa"), "Deployment")
    assert [item["spec"]["targetRef"] for item in recommended] == [
        {"apiVersion": item["apiVersion"], "kind": "Deployment", "name": item["metadata"]["name"]}
        for item in deployments
    ]
    assert [item["metadata"]["namespace"] for item in recommended] == [
        item["metadata"]["namespace"] for item in deployments
    ]
    assert {item["spec"]["updatePolicy"]["updateMode"] for item in recommended} == {"Off"}
    assert of_kind(built(OVERLAYS / "autoscale-vpa"), "SeldonDeployment") == built(BASE)


def test_every_container_asks_for_the_processors_that_utilization_is_of() -> None:
    """One container without a request, and an autoscaler by CPU does nothing at all."""
    for overlay in ("autoscale-cpu", "autoscale-keda"):
        (deployment,) = of_kind(made(overlay), "Deployment")
        assert "replicas" not in deployment["spec"]
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            assert "cpu" in container["resources"]["requests"], container["name"]


def test_autoscaler_by_cpu_and_requests_is_about_the_deployment() -> None:
    objects = made("autoscale-cpu")
    (deployment,), (scaler,) = of_kind(objects, "Deployment"), of_kind(objects, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert [metric["type"] for metric in scaler["spec"]["metrics"]] == ["Resource", "Pods"]


def test_keda_asks_prometheus_what_the_rules_record(tmp_path: Path) -> None:
    """Twelve requests under way in two Pods, of which the target is eight in each: two replicas."""
    objects = made("autoscale-keda")
    (deployment,), (scaled,) = of_kind(objects, "Deployment"), of_kind(objects, "ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (metadata,) = [item["metadata"] for item in scaled["spec"]["triggers"] if item["type"] == "prometheus"]
    labels = 'namespace="default",deployment_name="yolo",predictor_name="{}",container="{}",pod="{}"'
    given = [
        {"series": f"slipway_in_flight{{{labels.format(*words)}}}", "values": f"{value}x5"}
        for value, words in (
            (5, ("stable", "seldon-container-engine", "a")),
            (7, ("stable", "seldon-container-engine", "b")),
            (7, ("stable", "yolo-detector", "b")),
            (90, ("canary", "seldon-container-engine", "c")),
        )
    ]
    expected = [{"expr": metadata["query"], "eval_time": "3m", "exp_samples": [{"labels": "{}", "value": 12}]}]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": expected}
    rules = [str(MONITORING / "rules" / "requests.yml")]
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "1m", "tests": [test]}))
    assert "SUCCESS" in promtool("test", "rules", file)
    assert metadata["threshold"] == "8"


def test_page_names_the_overlays() -> None:
    page = (REPOSITORY / "docs" / "scaling.md").read_text()
    named = set(re.findall(r"seldon/overlays/(autoscale[\w-]*)", page))
    assert named == {path.name for path in OVERLAYS.glob("autoscale*")}
