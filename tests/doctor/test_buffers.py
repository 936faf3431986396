"""Of EnvoyFilters only those count that get into the Gateway's Pods, or into every sidecar."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.doctor.finding import Finding
from slipway.onebox.mesh.limits import RETRY_BUFFER_BYTES
from tests.doctor.cluster import TEAM, Cluster, make
from tests.doctor.test_findings import of

NONE = ["no EnvoyFilter says what the gateway keeps", "no EnvoyFilter bounds", "no EnvoyFilter says what sidecars keep"]
OF_GATEWAY = "gateway.networking.k8s.io/gateway-name"


def patch(to: str, context: str, operation: str, **value: int) -> dict[str, Any]:
    return {"applyTo": to, "match": {"context": context}, "patch": {"operation": operation, "value": value}}


def envoy_filter(operation: str = "MERGE", namespace: str = "istio-system", **spec: Any) -> dict[str, Any]:
    """Enough of everything, for whom ``spec`` says."""
    patches = [
        patch("VIRTUAL_HOST", "GATEWAY", operation, request_body_buffer_limit=RETRY_BUFFER_BYTES),
        patch("HTTP_FILTER", "GATEWAY", operation, max_request_bytes=MAX_BODY_BYTES),
        patch("VIRTUAL_HOST", "SIDECAR_OUTBOUND", operation, request_body_buffer_limit=RETRY_BUFFER_BYTES),
    ]
    return make("EnvoyFilter", "x", namespace, spec={**spec, "configPatches": patches})


def only(found: dict[str, Any], labels: dict[str, str] | None = None) -> list[Finding]:
    cluster = Cluster()
    cluster.drop("EnvoyFilter")
    cluster.objects.append(found)
    for obj in cluster.objects:
        if obj["kind"] == "Pod" and obj["metadata"]["name"].startswith("ingress"):
            obj["metadata"]["labels"].update(labels or {})
    return of(cluster, "buffers")


def said(found: list[Finding]) -> list[str]:
    return [item.what for item in found if item.level != "ok"]


def test_buffers_of_another_gateway_are_none() -> None:
    found = only(envoy_filter(workloadSelector={"labels": {"istio": "eastwest"}}))
    assert [text.startswith(start) for text, start in zip(said(found), NONE, strict=True)] == [True] * 3


@pytest.mark.parametrize("operation", ["REMOVE", "REPLACE", "INVALID"])
def test_what_is_removed_is_not_there(operation: str) -> None:
    assert len(said(only(envoy_filter(operation)))) == len(NONE)


@pytest.mark.parametrize("operation", ["MERGE", "ADD", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST"])
def test_a_filter_for_all_is_enough(operation: str) -> None:
    found = only(envoy_filter(operation))
    assert {item.level for item in found} == {"ok"}


@pytest.mark.parametrize(
    ("spec", "labels", "is_ours"),
    [
        ({"workloadSelector": {"labels": {"istio": "ingressgateway"}}}, {}, True),
        ({"workloadSelector": {"labels": {"istio": "ingressgateway", "zone": "b"}}}, {}, False),
        ({"targetRefs": [{"kind": "Gateway", "name": "front"}]}, {OF_GATEWAY: "front"}, True),
        ({"targetRefs": [{"kind": "Gateway", "name": "front"}]}, {OF_GATEWAY: "back"}, False),
        ({"targetRefs": [{"kind": "Gateway", "name": "front"}]}, {}, False),
        ({"targetRefs": [{"kind": "Service", "name": "front"}]}, {OF_GATEWAY: "front"}, False),
    ],
    ids=["ours", "a part", "its Gateway", "another Gateway", "no Gateway", "a Service"],
)
def test_what_selects_pods_counts_for_those_alone(spec: dict[str, Any], labels: dict[str, str], is_ours: bool) -> None:
    shown = said(only(envoy_filter(**spec), labels))
    assert shown[-1].startswith(NONE[-1]), "it is for no sidecar, or not for all"
    assert len(shown) == (1 if is_ours else len(NONE))


def test_a_filter_that_half_of_the_gateways_pods_have_is_not_enough() -> None:
    cluster = Cluster()
    cluster.drop("EnvoyFilter")
    cluster.get("Pod", "ingress-1")["metadata"]["labels"]["zone"] = "a"
    cluster.objects.append(envoy_filter(workloadSelector={"labels": {"zone": "a"}}))
    assert len(said(of(cluster, "buffers"))) == len(NONE)


def test_small_buffers_of_another_gateway_are_no_trouble() -> None:
    cluster = Cluster()
    other = envoy_filter(workloadSelector={"labels": {"istio": "eastwest"}})
    other["spec"]["configPatches"] = [patch("VIRTUAL_HOST", "GATEWAY", "MERGE", request_body_buffer_limit=1)]
    cluster.objects.append(other)
    assert said(of(cluster, "buffers")) == []


@pytest.mark.parametrize(("label", "level"), [("ingressgateway", "ok"), ("other", "fail")])
def test_filters_of_a_gateway_without_pods_are_those_for_the_labels_that_it_selects(label: str, level: str) -> None:
    cluster = Cluster()
    cluster.drop("Pod")
    cluster.get("Gateway")["spec"]["selector"] = {"istio": label}
    assert of(cluster, "buffers")[0].level == level


@pytest.mark.parametrize(
    ("namespace", "of_gateway", "of_sidecars"),
    [("istio-system", True, True), (TEAM, False, True), ("elsewhere", False, False)],
    ids=["root", "the team's", "another's"],
)
def test_a_filter_is_for_the_pods_of_its_namespace_or_in_the_root_for_all(
    namespace: str, of_gateway: bool, of_sidecars: bool
) -> None:
    texts = said(only(envoy_filter(namespace=namespace)))
    assert (NONE[0] in str(texts), NONE[2] in str(texts)) == (not of_gateway, not of_sidecars)


def test_filters_of_the_gateways_own_namespace_count() -> None:
    cluster = Cluster()
    cluster.drop("EnvoyFilter")
    for obj in cluster.objects:
        if obj["kind"] == "Pod" and obj["metadata"]["name"].startswith("ingress"):
            obj["metadata"]["namespace"] = "front"
    cluster.objects.append(envoy_filter(namespace="front", workloadSelector={"labels": {"istio": "ingressgateway"}}))
    assert [text.startswith(NONE[2]) for text in said(of(cluster, "buffers"))] == [True]


def test_a_filter_that_selects_what_every_pod_of_a_seldondeployment_has_is_for_all() -> None:
    labels = {"app.kubernetes.io/managed-by": "seldon-core"}
    assert NONE[2] not in str(said(only(envoy_filter(namespace=TEAM, workloadSelector={"labels": labels}))))
    other = said(only(envoy_filter(namespace=TEAM, workloadSelector={"labels": {"seldon-deployment-id": "plain"}})))
    assert NONE[2] in str(other)


@pytest.mark.parametrize(
    ("namespace", "selected", "value", "is_told"),
    [
        (TEAM, "yolo", 1, True),
        ("istio-system", "yolo", 1, True),
        ("elsewhere", "yolo", 1, False),
        (TEAM, "other", 1, False),
        (TEAM, "yolo", MAX_BODY_BYTES, False),
    ],
    ids=["the team's", "root", "another's", "no such Pod", "enough"],
)
def test_small_buffers_of_some_pods_are_told_with_the_filter_that_says_so(
    namespace: str, selected: str, value: int, is_told: bool
) -> None:
    cluster = Cluster()
    labels = {"seldon-deployment-id": "yolo", "app": "yolo-main-0-m"}
    cluster.objects.append(make("Pod", "yolo-1", TEAM, labels=labels))
    found = envoy_filter(namespace=namespace, workloadSelector={"labels": {"seldon-deployment-id": selected}})
    found["spec"]["configPatches"] = [
        patch("VIRTUAL_HOST", "SIDECAR_OUTBOUND", "MERGE", request_body_buffer_limit=value)
    ]
    cluster.objects.append(found)
    told = [(item.where, item.level) for item in of(cluster, "buffers") if "for some Pods" in item.what]
    assert told == ([(f"{namespace}/x", "fail")] if is_told else [])


def test_filters_are_for_the_labels_of_our_gateway_where_there_is_none_yet() -> None:
    cluster = Cluster()
    cluster.drop("Pod")
    cluster.drop("Gateway")
    assert {item.level for item in of(cluster, "buffers")} == {"ok"}
