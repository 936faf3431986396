"""Which Deployments may rest, what they stand behind, and how a request for one is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.mesh.ir import Cluster, ClusterPolicy, Endpoint, OutlierDetection
from slipway.onebox.mesh.services import Service, ServicePort
from slipway.onebox.mesh.sleepers import LISTENER_PORT, Rest, Sleeper, Target, parse_target, read_sleepers

NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
PORT = ServicePort("http", 8000, "http")
SLEEPER = Sleeper("default", "yolo", {"app": "yolo", "version": "2"})
REST = Rest((SLEEPER,), {"http": "/run/activator.sock"})
COLD = Cluster("c", "http", (), ClusterPolicy(outlier=OutlierDetection()))


def _service(namespace: str = "default", **selector: str) -> Service:
    return Service(namespace, "yolo", None, (PORT,), (), selector=selector)


def _scaled(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"scaleTargetRef": {"name": name}, **spec}}


@given(NAME, NAME, NAME, st.integers(1, 65535))
def test_target_survives_its_header(namespace: str, deployment: str, service: str, port: int) -> None:
    target = Target(namespace, deployment, service, port)
    assert parse_target(target.text) == target


@given(st.text(max_size=40))
def test_any_other_header_is_no_target_or_is_that_target(text: str) -> None:
    target = parse_target(text)
    assert target is None or parse_target(target.text) == target


def test_sleepers_are_the_deployments_that_are_there() -> None:
    template = {"template": {"metadata": {"labels": {"app": "a"}}}}
    deployments = [{"metadata": {"name": name, "namespace": "default"}, "spec": template} for name in ("a", "b")]
    job = _scaled("b", scaleTargetRef={"kind": "StatefulSet", "name": "b"})
    assert read_sleepers([_scaled("a"), _scaled("gone"), job], deployments) == (Sleeper("default", "a", {"app": "a"}),)


@pytest.mark.parametrize(
    ("service", "subset"),
    [
        (_service(app="yolo"), {"version": "1"}),
        (_service(app="other"), {}),
        (_service("elsewhere", app="yolo"), {}),
        (_service(), {}),
    ],
)
def test_nobody_is_woken_for_what_is_not_chosen(service: Service, subset: dict[str, str]) -> None:
    assert REST.in_place_of(COLD, service, PORT, subset) == COLD


def test_cluster_without_endpoints_has_the_activator_and_cannot_eject_it() -> None:
    cluster = REST.in_place_of(COLD, _service(app="yolo"), PORT, {"version": "2"})
    assert cluster.endpoints == (Endpoint("waking-http", LISTENER_PORT),)
    assert cluster.wakes == "default/yolo/yolo/8000"
    assert cluster.policy.outlier is None


def test_warm_or_tcp_cluster_stays_as_it_is() -> None:
    warm = Cluster("c", "http", (Endpoint("127.0.0.1", 9000),))
    raw = Cluster("c", "tcp", ())
    assert REST.in_place_of(warm, _service(app="yolo"), PORT, {}) == warm
    assert REST.in_place_of(raw, _service(app="yolo"), ServicePort("tcp", 9, "tcp"), {}) == raw
