"""What Istio's webhook would refuse of one object is refused here, in its form; what it takes is taken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.onebox.api.errors import Refused
from slipway.onebox.api.istio_rules import DENIED, MAX_ERRORS, reviews
from tests.onebox_api.conftest import ApiProcess

REPOSITORY = Path(__file__).parents[2]
DESTINATION = {"destination": {"host": "yolo"}}
ROUTE = {"route": [DESTINATION]}
SERVER = {"hosts": ["*"], "port": {"number": 80, "name": "http", "protocol": "HTTP"}}


def virtual_service(**spec: Any) -> dict[str, Any]:
    return of("VirtualService", **{"hosts": ["a.example.com"], "gateways": ["istio-system/g"], "http": [ROUTE]} | spec)


def http(**fields: Any) -> dict[str, Any]:
    return virtual_service(http=[{**ROUTE, **fields}])


def rule(**spec: Any) -> dict[str, Any]:
    return of("DestinationRule", **{"host": "yolo"} | spec)


def gateway(**server: Any) -> dict[str, Any]:
    return of("Gateway", servers=[{**SERVER, **server}])


def of(kind: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def said(obj: dict[str, Any]) -> str:
    """Of the refusal; empty where the object is taken."""
    try:
        assert not reviews()[f"{obj['kind'].lower()}s.networking.istio.io"](obj)
    except Refused as exc:
        assert exc.code == 400
        assert exc.message.startswith(DENIED)
        return exc.message.removeprefix(DENIED)
    return ""


REFUSED = [
    (virtual_service(hosts=[]), "delegate virtual service must have no gateways specified"),
    (virtual_service(hosts=["a b"]), 'hosts[0]: domain name "a b" invalid'),
    (virtual_service(hosts=["a.*.com"]), 'label "*" invalid'),
    (virtual_service(hosts=["a.1"]), 'label "1" invalid'),
    (virtual_service(hosts=["a:80"]), 'domain name "a:80" invalid'),
    (virtual_service(hosts=["a" * 300]), "too long (max 255)"),
    (virtual_service(hosts=["*"], gateways=[]), "wildcard host * is not allowed"),
    (virtual_service(hosts=["a.com", "A.com"]), "duplicate hosts in virtual service"),
    (virtual_service(gateways=["a/b/c"]), "invalid value for gateway name"),
    (virtual_service(http=[]), "http, tcp or tls must be provided"),
    (virtual_service(http=[{"match": []}]), "http[0]: HTTP route, redirect or direct_response is required"),
    (virtual_service(http=[], tcp=[{}]), "tcp[0]: TCP route is required"),
    (http(redirect={"uri": "/"}), "cannot contain both route and redirect"),
    (http(route=[{}]), "http[0].route[0]: destination is required"),
    (http(route=[{"destination": {}}]), "destination.host: empty domain name not allowed"),
    (http(route=[{"destination": {"host": "*"}}]), "invalid destination host *"),
    (http(route=[{"destination": {"host": "a", "subset": "A_b"}}]), "subset name is invalid"),
    (http(route=[{"destination": {"host": "a", "port": {"number": 0}}}]), "port number 0 must be in the range"),
    (http(route=[{**DESTINATION, "weight": -1}]), "http[0].route[0]: weight -1 < 0"),
    (http(route=[DESTINATION, DESTINATION]), "http[0].route: total destination weight = 0"),
    (http(match=[{"uri": {"regex": "("}}]), "http[0].match[0].uri: error parsing regexp: missing ): (; Istio uses RE2"),
    (http(match=[{"uri": {"regex": ""}}]), "should not be empty"),
    (http(match=[{"headers": {"a": {"regex": "(?=x)"}}}]), 'headers["a"]: error parsing regexp'),
    (http(match=[{"headers": {"a b": {"exact": "x"}}}]), "is not a valid header name"),
    (http(match=[{"gateways": ["A/b"]}]), "invalid value for namespace"),
    (http(timeout="soon"), 'http[0].timeout: "soon": must be a valid duration'),
    (http(retries={"attempts": -1}), "attempts cannot be negative"),
    (http(retries={"perTryTimeout": "1s"}), "http retry policy configured when attempts are set to 0"),
    (http(mirror={"host": "a_b"}), "http[0].mirror.host: domain name"),
    (http(mirrors=[{}]), "destination is required for mirrors"),
    (http(mirrorPercentage={"value": 101}), "percentage 101 is not in range 0..100"),
    (http(fault={"abort": {"httpStatus": 99}}), "HTTP status 99 is not in range 200-599"),
    (http(rewrite={}), "rewrite must specify at least one of"),
    (http(headers={"response": {"set": {":status": "1"}}}), 'header cannot have ":" prefix'),
    (rule(host=""), "host: empty domain name not allowed"),
    (rule(subsets=[{"labels": {}}]), "subsets[0].name: subset name cannot be empty"),
    (rule(subsets=[{"name": "a"}, {"name": "a"}]), "duplicate subset names"),
    (rule(trafficPolicy={}), "traffic policy must have at least one field"),
    (rule(trafficPolicy={"connectionPool": {}}), "connection pool must have at least one field"),
    (rule(trafficPolicy={"outlierDetection": {"interval": "1"}}), "outlierDetection.interval"),
    (rule(subsets=[{"name": "a", "trafficPolicy": {}}]), "subsets[0].trafficPolicy"),
    (of("Gateway", servers=[]), "gateway must have at least one server"),
    (of("Gateway", servers=[SERVER, SERVER]), "port names in servers must be unique"),
    (gateway(hosts=[]), "server config must contain at least one host"),
    (gateway(port=None), "servers[0]: port is required"),
    (gateway(port={**SERVER["port"], "protocol": "SPDY"}), 'invalid protocol "SPDY"'),  # type: ignore[dict-item]
    (gateway(port={"number": 80, "protocol": "HTTP"}), "port name must be set"),
    (gateway(port={"number": 443, "name": "s", "protocol": "HTTPS"}), "server must have TLS settings"),
    (gateway(tls={"credentialName": "c"}), "server cannot have TLS settings for plain text HTTP ports"),
]


@pytest.mark.parametrize(("obj", "words"), REFUSED, ids=[f"{obj['kind']}-{words[:40]}" for obj, words in REFUSED])
def test_what_istio_refuses_is_refused(obj: dict[str, Any], words: str) -> None:
    assert words in said(obj)


@pytest.mark.parametrize(
    "obj",
    [
        virtual_service(hosts=["*"]),
        virtual_service(hosts=["*.a.com", "a.com.", "10.0.0.1", "::1", "yolo"]),
        virtual_service(hosts=[], gateways=[]),  # somebody delegates to it
        http(route=[{**DESTINATION, "weight": 1}, {**DESTINATION, "weight": 2}]),  # Istio asks for no sum
        http(route=None, directResponse={"status": 503}),
        http(match=[{"uri": {"regex": r"\d+"}, "headers": {"x-a": {"exact": "b"}}}], timeout="1m30.5s"),
        rule(trafficPolicy={"loadBalancer": {"simple": "RANDOM"}}, subsets=[{"name": "v1", "labels": {"a": "b"}}]),
        gateway(tls={"httpsRedirect": True}),
        gateway(hosts=["a/*.b.com"], port={"number": 443, "name": "s", "protocol": "https"}, tls={"mode": "SIMPLE"}),
    ],
)
def test_what_istio_takes_is_taken(obj: dict[str, Any]) -> None:
    assert said(obj) == ""


@pytest.mark.parametrize("value", [None, 7, "x", [7], {"a": 7}, [[]], [None]])
def test_of_any_shape_an_object_is_answered(value: Any) -> None:
    for make, fields in (
        (virtual_service, ("hosts", "gateways", "http", "tls", "tcp")),
        (
            http,
            ("match", "route", "retries", "timeout", "fault", "rewrite", "mirror", "mirrors", "headers", "redirect"),
        ),
        (rule, ("host", "subsets", "trafficPolicy")),
        (gateway, ("hosts", "port", "tls")),
    ):
        for field in fields:
            said(make(**{field: value}))  # type: ignore[operator]


def test_several_errors_are_told_together_and_not_without_end() -> None:
    assert said(rule(host="", trafficPolicy={})).startswith("2 errors occurred:\n\t* host: empty domain")
    many = said(virtual_service(hosts=["a b"] * 10_000))
    assert many.startswith(f"{MAX_ERRORS} errors occurred:")


def test_patterns_that_take_long_to_read_are_left_to_the_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Unicode class in one that ignores case is some 6 ms of the API's one thread."""
    read: list[str] = []
    monkeypatch.setattr("slipway.onebox.api.istio_fields._syntax", lambda pattern: read.append(pattern) or "")
    assert said(http(match=[{"uri": {"regex": r"(?i)\pL\PN"}}, *[{"uri": {"regex": "a"}}] * 1000])) == ""
    assert 0 < len(read) < 100
    assert set(read) == {"a"}


def _objects() -> Iterator[dict[str, Any]]:
    for folder in ("istio", "tests/controller/golden"):
        for path in sorted((REPOSITORY / folder).rglob("*.yaml")):
            for obj in yaml.safe_load_all(path.read_text()):
                items = obj if isinstance(obj, list) else [obj]
                yield from (
                    item for item in items if item.get("kind") in ("VirtualService", "DestinationRule", "Gateway")
                )


def test_our_own_are_taken() -> None:
    objects = list(_objects())
    assert {obj["kind"] for obj in objects} == {"VirtualService", "DestinationRule", "Gateway"}
    assert {obj["metadata"]["name"]: said(obj) for obj in objects if said(obj)} == {}


def test_kubectl_tells_it_as_of_a_cluster_and_an_edit_is_held_to_it_too(api: ApiProcess) -> None:
    bad = json.dumps(http(route=[DESTINATION, DESTINATION]))
    words = f"{DENIED}http[0].route: total destination weight = 0"
    assert f'Error from server: error when creating "STDIN": {words}' in api.kubectl(
        "create", "-f", "-", stdin=bad, check=False
    )
    api.kubectl("create", "-f", "-", stdin=json.dumps(virtual_service()))
    patch = json.dumps([{"op": "remove", "path": "/spec/http"}])
    told = api.kubectl("patch", "virtualservice", "x", "--type=json", "-p", patch, check=False)
    assert "http, tcp or tls must be provided in virtual service" in told
