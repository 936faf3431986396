from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.ir import Cluster, Endpoint, Finding
from slipway.onebox.mesh.services import resolve_host
from slipway.onebox.mesh.translate import Objects, Site, translate
from slipway.onebox.mesh.virtual_services import effective_weights
from tests.onebox_mesh.world import GATEWAY, destination_rule, gateway, item, service, virtual_service, world

SITE = Site("127.0.0.1", 8080, "/page.html")

READY = (Endpoint("127.20.0.1", 8000),)
DECLARED = st.lists(st.tuples(st.booleans(), st.integers(0, 100)), min_size=2, max_size=6)


def _reader(**spec):
    return Reader(spec, "VirtualService", "default", "yolo", "spec", [])


def _declared(pairs):
    return [(Cluster(f"c{i}", "http", READY if ready else ()), weight) for i, (ready, weight) in enumerate(pairs)]


@given(DECLARED)
def test_effective_weights_are_the_declared_ones_of_what_is_ready(pairs):
    found = {item.cluster: item.weight for item in effective_weights(_declared(pairs))}
    assert found == {f"c{i}": weight for i, (ready, weight) in enumerate(pairs) if ready and weight > 0}


@given(st.integers(0, 100), st.booleans())
def test_lone_destination_gets_everything_when_ready(weight, ready):
    assert [item.weight for item in effective_weights(_declared([(ready, weight)]))] == ([1] if ready else [])


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("1.5s", 1.5), ("1m30s", 90), ("200ms", 0.2), ("1h", 3600), ("0s", 0)]
)
def test_duration_is_read(text, seconds):
    assert _reader(timeout=text).seconds("timeout", 7) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "soon", "5", 5, "s", "5s!", [], "-1s", "999999999h"])
def test_duration_that_is_none_is_reported_and_the_default_used(value):
    reader = _reader(timeout=value)
    assert reader.seconds("timeout", 7) == 7
    assert [item.field for item in reader.findings] == ["spec.timeout"]


@pytest.mark.parametrize("value", [-1, 1.5, "3", True, 2**32])
def test_number_that_is_none_is_reported_and_read_as_0(value):
    reader = _reader(attempts=value)
    assert reader.number("attempts", 7) == 0
    assert [item.field for item in reader.findings] == ["spec.attempts"]


def test_period_that_envoy_refuses_is_reported():
    rule = destination_rule(
        "stable", connectionPool={"tcp": {"connectTimeout": "0s"}}, outlierDetection={"interval": "0s"}
    )
    mesh = translate(world([virtual_service({"stable": 0})], {"stable": {"127.20.0.1": True}}, rules=[rule]), SITE)
    assert [item.field.rpartition(".")[2] for item in mesh.findings] == ["connectTimeout", "interval"]
    assert {(c.policy.connect_timeout_s, c.policy.outlier.interval_s) for c in mesh.clusters} == {(1, 10)}


@pytest.mark.parametrize(("declared", "of_one"), [(16, 8), (7, 4), (1, 1)])
def test_each_envoy_lets_its_share_of_the_declared_requests_pass(declared, of_one):
    rule = destination_rule("stable", connectionPool={"http": {"http2MaxRequests": declared}})
    mesh = translate(world([virtual_service({"stable": 0})], {"stable": {"127.20.0.1": True}}, rules=[rule]), SITE)
    assert {cluster.policy.max_requests for cluster in mesh.clusters} == {of_one}


@pytest.mark.parametrize(("address", "port"), [("web", 8000), ("127.20.0.1", 0), ("127.20.0.1", 70000), (None, 8000)])
def test_endpoint_that_is_none_is_left_out(address, port):
    objects = world([virtual_service({"stable": 0})], {"stable": {address: True}}, ports={"http": port, "grpc": port})
    assert [cluster.endpoints for cluster in translate(objects, SITE).clusters] == [(), ()]


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("yolo", ("mine", "yolo")),
        ("yolo.other", ("other", "yolo")),
        ("yolo.other.svc", ("other", "yolo")),
        ("yolo.other.svc.cluster.local", ("other", "yolo")),
        ("yolo.other.svc.cluster.local.", ("other", "yolo")),
        ("www.example.com", None),
    ],
)
def test_host_of_a_service_is_resolved(host, key):
    assert resolve_host(host, "mine") == key


WORDS = [
    "http",
    "match",
    "route",
    "uri",
    "prefix",
    "regex",
    "headers",
    "rewrite",
    "retries",
    "mirror",
    "weight",
    "destination",
]
WORDS += [
    "host",
    "hosts",
    "gateways",
    "subset",
    "port",
    "number",
    "timeout",
    "set",
    "exact",
    "request",
    "value",
    "subsets",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


def test_one_address_has_one_listener_and_who_comes_second_is_told():
    twice = service("twice", {"a": 9801, "b": 9801, "c": 9802}, cluster_ip="127.97.3.3")
    thief = service("twice-2", {"http": 9801, "own": 9803}, cluster_ip="127.97.3.3")
    mesh = translate(Objects(services=(twice, thief)), SITE)
    listeners = [(item.name, item.address, item.port) for item in mesh.listeners if item.cluster]
    assert listeners == [
        ("service|default|twice-2|9803", "127.97.3.3", 9803),
        ("service|default|twice|9801", "127.97.3.3", 9801),
        ("service|default|twice|9802", "127.97.3.3", 9802),
    ]
    assert [(finding.name, finding.message) for finding in mesh.findings if finding.kind == "Service"] == [
        ("twice", "127.97.3.3:9801 is that of default/twice a already: b is not served"),
        ("twice-2", "127.97.3.3:9801 is that of default/twice a already: http is not served"),
    ]


@given(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=5))
def test_translate_survives_any_spec(spec):
    odd = {**spec, "hosts": ["*"], "gateways": [GATEWAY]}
    objects = Objects(
        virtual_services=(
            item("VirtualService", "odd", odd),
            {"kind": "VirtualService", "metadata": {"name": "x"}, "spec": 7},
        ),
        destination_rules=(item("DestinationRule", "odd", spec),),
        gateways=(gateway(), item("Gateway", "odd", {"servers": spec})),
    )
    mesh = translate(objects, SITE)
    assert Finding("VirtualService", "", "x", "spec", "7 is not a mapping") in mesh.findings
