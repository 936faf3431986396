"""Whom Istio lets through over all AuthorizationPolicies and PeerAuthentications: what is needed, and what nobody may."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from slipway.contract.defaulting import PortPlan
from slipway.controller.meta import HTTP_PORT
from tests.data import REPOSITORY
from tests.helm_values.charts import load
from tests.manifests.cluster import ends, policies
from tests.manifests.mesh import objects, parties
from tests.manifests.mesh_flows import Call, NotJudgedError, Party, passes

Object = dict[str, Any]
REST = ("POST", "/api/v1.0/predictions")
GRPC = ("POST", "/seldon.protos.Seldon/Predict")
METRICS = ("GET", "/prometheus")
TOKEN = "https://id.example/ada"
"""Whose it is."""
NEEDED = [
    ("gateway", "blue predictor", Call(8000, *REST)),
    ("gateway", "blue predictor", Call(5001, *GRPC)),
    *((name, "blue predictor", Call(8000, *REST)) for name in ("gateway of istioctl", "blue tenant")),
    ("gateway", "blue predictor", Call(9000, *REST)),  # a component without an executor before it
    ("blue apart engine", "blue apart", Call(9000, *REST)),
    ("blue apart engine", "blue apart", Call(9500, *GRPC)),
    *(("prometheus", "blue predictor", Call(8000, "GET", path)) for path in ("/prometheus", "/metrics")),
    *(("prometheus", "blue predictor", Call(port, *METRICS)) for port in (6000, 6031)),
    ("prometheus", "blue predictor", Call(15020, "GET", "/stats/prometheus")),
    ("kubelet", "blue predictor", Call(15020, "GET", "/app-health/seldon-container-engine/readyz")),
    ("internet", "gateway", Call(8443, *REST, token=TOKEN)),
    ("blue predictor", "gateway", Call(8081, *REST)),  # istio/components/inside
    ("blue training", "gateway", Call(8081, *REST)),
    ("notebook", "gateway", Call(8081, *REST)),
    *((name, "mlflow", Call(5000, "POST", "/api/2.0/mlflow/runs/create")) for name in ("blue training", "notebook")),
    *((name, "mlflow", Call(5000, "GET", "/")) for name in ("slipway-controller", "blue predictor", "gateway")),
    ("prometheus", "slipway-controller", Call(8080, "GET", "/metrics")),
]
FORBIDDEN = [
    *(
        ("green predictor", "blue predictor", call)
        for call in (Call(8000, *REST), Call(5001, *GRPC), Call(9000, *REST), Call(6000, *REST))
    ),
    ("green apart engine", "blue apart", Call(9000, *REST)),
    ("blue guest", "blue predictor", Call(8000, *REST)),
    *(("blue training", "blue predictor", call) for call in (Call(8000, *REST), Call(9000, *METRICS))),  # no sidecar
    *((name, "blue predictor", Call(8000, *REST)) for name in ("notebook", "slipway-controller", "mlflow", "internet")),
    *(
        ("prometheus", "blue predictor", call)
        for call in (Call(8000, *REST), Call(8000, "GET", "/"), Call(5001, *GRPC))
    ),
    ("prometheus", "blue predictor", Call(9000, *METRICS)),
    ("prometheus", "blue predictor", Call(8000, "GET", "/prometheus/../api/v1.0/predictions")),
    ("prometheus", "blue predictor", Call(6032, *METRICS)),
    ("kubelet", "blue predictor", Call(8000, "GET", "/ready")),  # why probes must be rewritten
    *(("internet", "gateway", Call(port, *REST)) for port in (8080, 8443)),
    ("blue predictor", "gateway", Call(8080, *REST)),
]
OF_NETWORKS = [("green predictor", "blue predictor", Call(8000, *METRICS))]
"""Metrics are anybody's to Istio: who is not Prometheus is kept off by the network policies."""


def through(source: str, target: str, call: Call, given: list[Object] | None = None) -> bool:
    return passes(given or objects(), parties()[source], parties()[target], call)


@pytest.mark.parametrize(("source", "target", "call"), NEEDED, ids=str)
def test_what_is_needed_passes(source: str, target: str, call: Call) -> None:
    assert through(source, target, call)


@pytest.mark.parametrize(("source", "target", "call"), FORBIDDEN, ids=str)
def test_what_is_forbidden_does_not_pass(source: str, target: str, call: Call) -> None:
    assert not through(source, target, call)


@pytest.mark.parametrize(("source", "target", "call"), OF_NETWORKS, ids=str)
def test_what_only_networks_keep_off_is_known(source: str, target: str, call: Call) -> None:
    assert through(source, target, call)


def _poorer(value: Object) -> Iterator[Object]:
    """Without one rule, one source, one value of a source, or one port, each in its turn."""
    spec = value["spec"]
    for index, rule in enumerate(spec.get("rules") or ()):
        yield {**spec, "rules": [item for item in spec["rules"] if item is not rule]}
        for part in ("from", "to"):
            for below in rule.get(part) or ():
                (inner,) = below.values()
                for key, values in inner.items():
                    for one in values:
                        changed = deepcopy(spec)
                        place = changed["rules"][index][part][rule[part].index(below)]
                        next(iter(place.values()))[key].remove(one)
                        yield changed
    for port in spec.get("portLevelMtls") or ():
        yield {**spec, "portLevelMtls": {key: mode for key, mode in spec["portLevelMtls"].items() if key != port}}


def test_no_word_is_there_for_nothing() -> None:
    """Without it, something needed would not pass: so the table is whole, and each test of it can fail."""
    idle = []
    of_nodes = [("prometheus", "blue predictor", Call(port, *METRICS)) for port in opened()]
    needed = [*NEEDED, *of_nodes]
    for index, item in enumerate(objects()):
        if item["metadata"]["namespace"] == "green":
            continue  # the same as blue's
        for spec in _poorer(item):
            changed = [*objects()[:index], {**item, "spec": spec}, *objects()[index + 1 :]]
            if all(through(source, target, call, changed) for source, target, call in needed):
                idle.append((item["metadata"]["name"], spec))
    assert idle == []


def test_without_a_policy_everybody_with_a_sidecar_passes() -> None:
    """So that the table of what is forbidden can fail."""
    given = [item for item in objects() if item["metadata"]["name"] != "tenant"]
    assert through("green predictor", "blue predictor", Call(8000, *REST), given)
    assert through("blue training", "blue predictor", Call(8000, *REST), given)
    assert not through("blue training", "blue predictor", Call(9000, *REST), given), "STRICT by itself"
    assert through("blue training", "blue predictor", Call(9000, *REST), [{"kind": "Nothing"}])


def opened() -> set[int]:
    """What a team's network policy opens for Prometheus at Pods' own containers; 15020 is the sidecar's."""
    (policy,) = [
        item
        for item in policies()
        if (item["metadata"]["namespace"], item["metadata"]["name"]) == ("blue", "tenant-from")
    ]
    (rule,) = [item for item in policy["spec"]["ingress"] if "ports" in item]
    return {number for item in rule["ports"] for number in range(item["port"], item.get("endPort", item["port"]) + 1)} - {15020}  # fmt: skip


def test_the_ports_that_networks_open_for_metrics_are_those_that_istio_takes_in_the_clear() -> None:
    (peers,) = [
        item for item in objects() if (item["kind"], item["metadata"]["namespace"]) == ("PeerAuthentication", "blue")
    ]
    assert {int(port) for port in peers["spec"]["portLevelMtls"]} == opened()
    assert {PortPlan().metrics, HTTP_PORT} <= opened()
    shown = ends()["blue predictor"].ports[PortPlan().metrics_name]
    assert shown < opened()


def test_probes_are_rewritten() -> None:
    """A kubelet has no certificate: the sidecar's own port, which it is sent to, needs none."""
    assert load(REPOSITORY / "helm-values" / "istiod.yaml").get("sidecarInjectorWebhook", {}) == {}  # on by default


A = Party("a", "x", {"app": "web"}, has_proxy=True)
B = Party("b", "y", has_proxy=True)


def policy(spec: Object | None, namespace: str = "a", kind: str = "AuthorizationPolicy") -> Object:
    return {"kind": kind, "metadata": {"name": "p", "namespace": namespace}, "spec": spec}


def allow(source: Object) -> Object:
    return {"rules": [{"from": [{"source": source}]}]}


def operation(**fields: Any) -> Object:
    return {"rules": [{"to": [{"operation": fields}]}]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], True),
        ([policy(None)], False),
        ([policy({})], False),
        ([policy({"rules": [{}]})], True),
        ([policy({"action": "DENY"})], True),
        ([policy({"action": "DENY", "rules": [{}]}), policy({"rules": [{}]})], False),
        ([policy({}, "b")], True),
        ([policy({}, "istio-system")], False),
        ([policy({"selector": {"matchLabels": {"app": "web"}}})], False),
        ([policy({"selector": {"matchLabels": {"app": "db"}}})], True),
        ([policy({}), policy(allow({"namespaces": ["b"]}))], True),
        ([policy(allow({"principals": ["cluster.local/ns/b/sa/y"]}))], True),
        ([policy(allow({"principals": ["*"]}))], True),
        ([policy(allow({"principals": ["*/ns/c/*"]}))], False),
        ([policy(allow({"serviceAccounts": ["b/y"]}))], True),
        ([policy(allow({"serviceAccounts": ["y"]}))], False),
        ([policy(allow({"serviceAccounts": ["y"]}), "istio-system")], False),
        ([policy(allow({"notNamespaces": ["b"]}))], False),
        ([policy(allow({"namespaces": ["b"], "principals": ["cluster.local/ns/b/sa/z"]}))], False),
        ([policy(allow({"requestPrincipals": ["*"]}))], False),
        ([policy(operation(methods=["GET"], paths=["/a*"]))], True),
        ([policy(operation(methods=["GET"], paths=["*/a"]))], False),
        ([policy(operation(notPorts=["80"]))], False),
        ([policy(operation(ports=["81"]))], False),
    ],
    ids=str,
)
def test_policies_say(given: list[Object], expected: bool) -> None:
    assert passes(given, B, A, Call(80, "GET", "/a/b")) is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], True),
        ([({"mtls": {"mode": "STRICT"}}, "a")], False),
        ([({"mtls": {"mode": "STRICT"}}, "istio-system")], False),
        ([({"mtls": {"mode": "STRICT"}}, "istio-system"), ({"mtls": {"mode": "PERMISSIVE"}}, "a")], True),
        ([({"mtls": {"mode": "STRICT"}}, "istio-system"), ({"mtls": {"mode": "UNSET"}}, "a")], False),
        ([({"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"80": {"mode": "PERMISSIVE"}}}, "a")], True),
        ([({"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"81": {"mode": "PERMISSIVE"}}}, "a")], False),
        ([({"selector": {"matchLabels": {"app": "db"}}, "mtls": {"mode": "STRICT"}}, "a")], True),
    ],
    ids=str,
)  # fmt: skip
def test_who_shows_no_certificate_passes_where_that_is_permitted(
    given: list[tuple[Object, str]], expected: bool
) -> None:
    peers = [policy(spec, namespace, "PeerAuthentication") for spec, namespace in given]
    assert passes(peers, Party("b"), A, Call(80)) is expected
    assert passes(peers, B, A, Call(80)), "who has one"
    assert passes([*peers, policy({})], B, Party("a"), Call(80)), "nobody judges what has no sidecar"


@pytest.mark.parametrize(
    "spec",
    [
        {"action": "CUSTOM"},
        {"targetRefs": []},
        {"rules": [{"when": []}]},
        allow({"ipBlocks": ["10.0.0.0/8"]}),
        operation(hosts=["a"]),
    ],
    ids=str,
)
def test_what_is_not_judged_is_an_error_and_no_answer(spec: Object) -> None:
    with pytest.raises(NotJudgedError):
        passes([policy(spec)], B, A, Call(80))
