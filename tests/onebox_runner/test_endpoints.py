"""Services and Pods → EndpointSlices; Services → the hosts file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.runner.endpoints import plan_endpoints
from slipway.onebox.runner.hosts import render_hosts, write_hosts
from slipway.onebox.runner.workload_steps import Change, Create, Delete
from tests.onebox_runner.objects import pod_object


def service_object(**spec: Any) -> dict[str, Any]:
    meta = {"name": "s", "namespace": "default", "uid": "uid-s"}
    ports = [{"name": "http", "port": 8000, "targetPort": "http"}, {"name": "grpc", "port": 5001, "targetPort": 5001}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"selector": {"app": "a"}, "ports": ports, **spec},
    }


def member(
    name: str, *, ready: bool = True, ip: str = "127.16.0.1", port: int = 8000, phase: str = "Running", **meta: Any
) -> dict[str, Any]:
    container = {"name": "main", "image": "a:1", "ports": [{"name": "http", "containerPort": port}]}
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"phase": phase, "podIP": ip, "conditions": [condition]}
    return pod_object(name, spec={"containers": [container]}, status=status, metadata={"labels": {"app": "a"}, **meta})


def made(step: Create) -> dict[str, Any]:
    return {**step.obj, "metadata": {**step.obj["metadata"], "uid": "uid-slice"}}


def test_a_service_lists_its_pods_and_says_which_are_ready() -> None:
    pods = [member("b", ready=False, ip="127.16.0.2"), member("a"), pod_object("stranger")]
    (step,) = plan_endpoints(service_object(), pods, [])
    assert isinstance(step, Create)
    found = step.obj
    assert found["ports"] == [
        {"name": "http", "port": 8000, "protocol": "TCP"},
        {"name": "grpc", "port": 5001, "protocol": "TCP"},
    ]
    assert [(item["addresses"], item["conditions"]["ready"]) for item in found["endpoints"]] == [
        (["127.16.0.1"], True),
        (["127.16.0.2"], False),
    ]
    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "s"
    assert plan_endpoints(service_object(), pods, [made(step)]) == []


def test_a_terminating_pod_serves_but_is_not_ready() -> None:
    (step,) = plan_endpoints(service_object(), [member("a", deletionTimestamp="2026-01-01T00:00:00Z")], [])
    assert isinstance(step, Create)
    assert step.obj["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}


def test_an_ended_pod_and_one_without_an_address_are_left_out() -> None:
    pods = [member("a", phase="Succeeded"), member("b", ip="")]
    (step,) = plan_endpoints(service_object(), pods, [])
    assert isinstance(step, Create)
    assert step.obj["endpoints"] == []


def test_pods_with_different_numbers_for_a_named_port_have_slices_of_their_own() -> None:
    steps = plan_endpoints(service_object(), [member("a"), member("b", port=9000, ip="127.16.0.2")], [])
    found = {
        step.obj["ports"][0]["port"]: step.obj["endpoints"][0]["addresses"]
        for step in steps
        if isinstance(step, Create)
    }
    assert found == {8000: ["127.16.0.1"], 9000: ["127.16.0.2"]}
    slices = [made(step) for step in steps if isinstance(step, Create)]
    (gone,) = plan_endpoints(service_object(), [member("a")], slices)
    assert isinstance(gone, Delete)
    assert gone.obj["ports"][0]["port"] == 9000


def test_a_port_that_says_no_number_and_a_target_that_is_none_are_left_out() -> None:
    pod = member("a")
    del pod["spec"]["containers"][0]["ports"][0]["containerPort"]
    ports = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "odd", "port": 81, "targetPort": "²"}]
    (step,) = plan_endpoints(service_object(ports=ports), [pod], [])
    assert isinstance(step, Create)
    assert (step.obj["ports"], len(step.obj["endpoints"])) == ([], 1)


def test_a_readiness_change_patches_the_endpoints_only() -> None:
    (step,) = plan_endpoints(service_object(), [member("a")], [])
    assert isinstance(step, Create)
    (change,) = plan_endpoints(service_object(), [member("a", ready=False)], [made(step)])
    assert isinstance(change, Change)
    assert set(change.patch) == {"endpoints"}


def test_services_that_others_fill_are_left_alone() -> None:
    assert plan_endpoints(service_object(selector=None), [member("a")], []) == []
    assert plan_endpoints(service_object(type="ExternalName"), [member("a")], []) == []


@given(
    st.permutations(
        [member(name, ready=name != "c", ip=f"127.16.0.{n}", port=8000 + n % 2) for n, name in enumerate("abcd", 1)]
    )
)
def test_the_order_of_pods_never_shows(pods: list[dict[str, Any]]) -> None:
    assert plan_endpoints(service_object(), pods, []) == plan_endpoints(
        service_object(), sorted(pods, key=lambda p: p["metadata"]["name"]), []
    )


def test_every_service_has_its_three_names() -> None:
    services = [
        {"metadata": {"name": "b", "namespace": "n"}, "spec": {"clusterIP": "127.96.0.2"}},
        {"metadata": {"name": "a", "namespace": "n"}, "spec": {"clusterIP": "127.96.0.1"}},
        {"metadata": {"name": "headless", "namespace": "n"}, "spec": {"clusterIP": "None"}},
    ]
    assert render_hosts(services) == (
        "127.0.0.1 localhost localhost.localdomain\n"
        "127.96.0.1 a.n.svc.cluster.local a.n.svc a.n\n"
        "127.96.0.2 b.n.svc.cluster.local b.n.svc b.n\n"
    )


def test_the_hosts_file_changes_in_place(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    assert write_hosts(path, "long\n" * 100)
    inode = path.stat().st_ino
    assert write_hosts(path, "short\n")
    assert path.read_text() == "short\n"
    assert path.stat().st_ino == inode
    assert not write_hosts(path, "short\n")
