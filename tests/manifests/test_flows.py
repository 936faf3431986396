"""Who reaches whom over all NetworkPolicies together: what the platform needs, and what nobody may."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from tests.data import REPOSITORY
from tests.manifests.cluster import ends, namespaces, policies, templates
from tests.manifests.flows import End, Network, passes
from tests.manifests.kustomizations import built

Object = dict[str, Any]
JOBS = ("mlflow-migrate", "mlflow-backup", "mlflow-restore")
ALL_OF_OURS = ("slipway-controller", "slipway-webhook", "mlflow", *JOBS, "blue predictor", "blue training", "notebook")
NEEDED = [
    ("gateway", "blue predictor", 8000),
    ("gateway", "blue predictor", 5001),
    ("gateway", "blue predictor", 9000),  # a component without an executor before it
    ("gateway", "mlflow", 5000),
    ("blue apart engine", "blue apart", 9000),
    ("blue apart engine", "blue apart", 9501),
    *(("prometheus", "blue predictor", port) for port in (6000, 6001, 8000, 15020)),
    ("prometheus", "slipway-controller", 8080),
    ("prometheus", "database", 9187),
    ("prometheus", "store filer", 9327),
    ("slipway-controller", "api server", 6443),
    ("slipway-controller", "mlflow", 5000),
    ("slipway-webhook", "api server", 443),
    ("api server", "slipway-webhook", 9443),
    *((name, "database", 5432) for name in ("mlflow", *JOBS)),
    *((name, "store s3", 8333) for name in ("mlflow", "mlflow-backup", "mlflow-restore")),
    ("operator", "database", 8000),
    ("store s3", "store filer", 8888),
    ("store s3", "store volume", 8080),
    *((f"blue {name}", "store s3", 8333) for name in ("predictor", "training")),
    *((f"blue {name}", "mlflow", 5000) for name in ("predictor", "training")),
    *((f"blue {name}", "gateway", 80) for name in ("predictor", "training")),
    *(("blue training", "api server", port) for port in (443, 6443, 8443)),
    ("blue training", "internet", 80),
    ("blue predictor", "istiod", 15012),
    ("notebook", "mlflow", 5000),
    ("notebook", "store s3", 8333),
    ("notebook", "gateway", 80),
    *((name, "gateway", 8081) for name in ("blue training", "blue predictor", "notebook")),  # istio/components/inside
    ("notebook", "api server", 6443),
    ("notebook", "internet", 80),
]
FORBIDDEN = [
    *(
        (f"blue {name}", "green predictor", port)
        for name in ("predictor", "training")
        for port in (8000, 9000, 6000, 443)
    ),
    *(("blue training", f"store {name}", port) for name, port in (("filer", 8888), ("master", 9333), ("volume", 8080))),
    *(("blue training", "store s3", port) for port in (9327, 18333)),
    ("blue training", "database", 5432),
    ("blue training", "slipway-controller", 8080),
    ("blue training", "mlflow-backup", 5000),
    ("blue training", "istiod", 15014),
    ("blue training", "prometheus", 9090),
    ("blue training", "notebook", 8888),
    *((name, "metadata", 80) for name in ("blue training", "blue predictor", "notebook")),
    ("notebook", "store filer", 8888),
    ("notebook", "database", 5432),
    ("notebook", "blue predictor", 8000),
    ("stranger", "blue predictor", 8000),
    ("stranger", "mlflow", 5000),
    ("stranger", "database", 5432),
    ("stranger", "store filer", 8888),
    ("stranger", "slipway-controller", 8080),
    *((name, "blue predictor", 8000) for name in ("slipway-controller", "istiod", "mlflow", "internet")),
    ("prometheus", "blue predictor", 9000),
    ("slipway-controller", "database", 5432),
    ("gateway", "database", 5432),
    ("gateway", "slipway-controller", 8080),
    ("mlflow", "internet", 80),
    ("mlflow-backup", "slipway-controller", 8080),
]


def through(
    source: str, target: str, port: int, protocol: str = "TCP", given: list[Object] | None = None
) -> list[bool]:
    """With an ipBlock that Pods are asked about, and with one that they are not."""
    made = (Network(namespaces(), given or policies(), blocks_take_pods=answer) for answer in (True, False))
    return [passes(network, ends()[source], ends()[target], port, protocol) for network in made]


@pytest.mark.parametrize(("source", "target", "port"), NEEDED)
def test_what_is_needed_passes(source: str, target: str, port: int) -> None:
    assert through(source, target, port) == [True, True]


@pytest.mark.parametrize("source", ALL_OF_OURS)
def test_everything_asks_for_names(source: str) -> None:
    assert through(source, "dns", 53, "UDP") == through(source, "dns", 53) == [True, True]


@pytest.mark.parametrize(("source", "target", "port"), FORBIDDEN)
def test_what_is_forbidden_does_not_pass(source: str, target: str, port: int) -> None:
    assert through(source, target, port) == [False, False]


def test_plain_form_fetches_its_model_where_the_page_puts_the_label() -> None:
    (_, template), *_ = templates(built(REPOSITORY / "seldon/plain/yolo"))
    pod = End("10.1.1.1", "default", template["metadata"]["labels"])
    label = "slipway.dev/tenant"
    assert f"kubectl label namespace default {label}=true" in (REPOSITORY / "docs" / "without-istio.md").read_text()
    for given, expected in (({label: "true"}, True), ({}, False)):
        network = Network(namespaces() | {"default": given}, policies(), blocks_take_pods=False)
        assert passes(network, pod, ends()["mlflow"], 5000) is expected
        assert passes(network, pod, ends()["store s3"], 8333)


def _broken() -> Iterator[tuple[str, list[Object]]]:
    """All policies but for one rule, each in its turn. The store's chart gives every part of it the same ones."""
    for index, policy in enumerate(policies()):
        if policy["metadata"]["namespace"] == "seaweedfs":
            continue
        for direction in ("ingress", "egress"):
            for place in range(len(policy["spec"].get(direction) or ())):
                changed = deepcopy(policies())
                del changed[index]["spec"][direction][place]
                yield f"{policy['metadata']['namespace']}/{policy['metadata']['name']} {direction}[{place}]", changed


def test_no_rule_is_there_for_nothing() -> None:
    """Without it, something needed would not pass: so the table is whole, and each test of it can fail."""
    names = [(name, "dns", 53, protocol) for name in ALL_OF_OURS for protocol in ("UDP", "TCP")]
    needed = [*((*flow, "TCP") for flow in NEEDED), *names]
    doubled = [
        (source.replace("blue", "green"), target.replace("blue", "green"), port, protocol)
        for source, target, port, protocol in needed
    ]
    idle = [
        name
        for name, changed in _broken()
        if all(all(through(*flow, given=changed)) for flow in dict.fromkeys([*needed, *doubled]))
    ]
    assert idle == []


@pytest.mark.parametrize(
    "name", ["tenant-to", "tenant-from", "mlflow", "mlflow-db", "slipway-controller", "of-a-chart"]
)
def test_without_a_policy_something_forbidden_passes(name: str) -> None:
    rest = [item for item in policies() if item["metadata"]["name"] != name]
    assert [flow for flow in FORBIDDEN if any(through(*flow, given=rest))]


def end(address: str = "10.1.1.1", namespace: str = "", **labels: str) -> End:
    return End(address, namespace, labels, {"http": frozenset({8000}), "metrics": frozenset({6000, 6001})})


def lets(spec: Object, source: End, port: int = 8000, protocol: str = "TCP", *, blocks: bool = True) -> bool:
    """What one policy of the namespace ``a`` lets in to a Pod there."""
    network = Network(
        {"a": {"team": "a"}, "b": {"team": "b"}},
        [{"metadata": {"namespace": "a"}, "spec": {"podSelector": {}, **spec}}],
        blocks,
    )
    return passes(network, source, end("10.1.1.9", "a", app="web"), port, protocol)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, False),
        ({"policyTypes": ["Egress"]}, True),
        ({"podSelector": {"matchLabels": {"app": "other"}}}, True),
        ({"ingress": [{}]}, True),
        ({"ingress": [{"from": [{"podSelector": {}}]}]}, False),
        ({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, True),
        ({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]}]}, False),
        ({"ingress": [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "x"}}}]}]}, True),
        ({"ingress": [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "y"}}}]}]}, False),
        ({"ingress": [{"ports": [{"port": "http"}]}]}, True),
        ({"ingress": [{"ports": [{"port": 8000, "protocol": "UDP"}]}]}, False),
        ({"ingress": [{"ports": [{"port": 7000, "endPort": 8000}]}]}, True),
        ({"ingress": [{"ports": [{"port": 7000}]}]}, False),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}, True),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.1.0/24"]}}]}]}, False),
        (
            {"ingress": [{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["b"]}]}}]}]},
            True,
        ),
        ({"ingress": [{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}}]}]}, False),
    ],
    ids=str,
)  # fmt: skip
def test_policy_says(spec: Object, expected: bool) -> None:
    assert lets(spec, end("10.1.1.1", "b", app="x")) == expected


def test_name_that_two_containers_give_to_two_ports_is_none() -> None:
    assert not lets({"ingress": [{"ports": [{"port": "metrics"}]}]}, end("10.1.1.1", "b"), 6000)


def test_block_of_addresses_may_not_take_pods() -> None:
    spec = {"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}
    assert lets(spec, end("10.1.1.1", "b"))
    assert not lets(spec, end("10.1.1.1", "b"), blocks=False)
    assert lets(spec, end("93.184.216.34"), blocks=False)
