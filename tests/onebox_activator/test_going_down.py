"""Every moment at which a request can come while a predictor goes to rest: the real decisions, played step by step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from slipway.kube.kinds import ENDPOINT_SLICE
from slipway.onebox.activator.rest import Activity, Bounds, Traffic, observe, wanted_replicas
from slipway.onebox.mesh.ir import Cluster
from slipway.onebox.mesh.services import index_services
from slipway.onebox.mesh.sleepers import Rest, Sleeper
from slipway.onebox.runner.endpoints import plan_endpoints
from slipway.onebox.runner.moments import Moment
from slipway.onebox.runner.replica_sets import plan_replica_set
from slipway.onebox.runner.workload_steps import Change, Create, Delete

LABELS = {"app": "yolo"}
NOW, COOLDOWN_S = 1000.0, 60.0
DOWN = ("look", "scale", "pods", "endpoints", "route", "stop")
"""In this order, because each acts on what the one before it has written; between any two of them anything may come."""
ROUNDS = 10


def _meta(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "default", "uid": name, "labels": LABELS, **more}


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": _meta("yolo"),
    "spec": {"selector": LABELS, "clusterIP": "None", "ports": [{"name": "http", "port": 8000}]},
}
REST = Rest((Sleeper("default", "yolo", LABELS),), {"http": "/activator.sock"})


@dataclass
class Machine:
    """One predictor, awake and quiet for a cooldown. What a request meets is decided by the route of that moment."""

    replicas: int = 1
    version: int = 1
    seen_version: int = 0
    wanted: int | None = None
    activity: Activity = field(default_factory=lambda: Activity(NOW - COOLDOWN_S, total=0))
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    slices: dict[str, dict[str, Any]] = field(default_factory=dict)
    route: Cluster | None = None
    total: int = 0
    held: int = 0
    answered: int = 0
    wakes: int = 0
    lost: int = 0

    def __post_init__(self) -> None:
        self.pods_step()
        self.endpoints_step()
        self.route_step()
        assert not self.is_held

    @property
    def is_held(self) -> bool:
        assert self.route is not None
        return bool(self.route.wakes)

    def arrive(self) -> None:
        """Through the gateway, which counts it, to what the route names."""
        assert self.route is not None
        self.total += 1
        if self.is_held:
            self.held += 1
        elif any(pod["status"]["podIP"] == self.route.endpoints[0].address for pod in self.pods.values()):
            self.answered += 1
        else:
            self.lost += 1

    def look_step(self) -> None:
        self.activity = observe(self.activity, Traffic(self.total, 0), at_work=bool(self.held), now=NOW)
        self.wanted = wanted_replicas(Bounds(True, 1, COOLDOWN_S), self.replicas, self.activity, held=0, now=NOW)
        self.seen_version = self.version

    def scale_step(self) -> None:
        if self.wanted == 0 and self.seen_version == self.version:
            self._scale(0)

    def wake_step(self) -> None:
        wanted = wanted_replicas(Bounds(True, 1, COOLDOWN_S), self.replicas, self.activity, held=self.held, now=NOW)
        if wanted:
            self.wakes += 1
            self._scale(wanted)

    def _scale(self, replicas: int) -> None:
        self.replicas, self.version = replicas, self.version + 1

    def pods_step(self) -> None:
        """The ReplicaSet's Pods: a new one is ready at once, one that goes is still there."""
        spec = {"replicas": self.replicas, "template": {"metadata": {"labels": LABELS}, "spec": {"containers": []}}}
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": _meta("yolo-1"), "spec": spec}
        for step in plan_replica_set(owner, list(self.pods.values()), Moment(NOW + self.version)):
            if isinstance(step, Create):
                pod = dict(step.obj)
                ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                name = pod["metadata"]["name"]
                address = f"127.0.0.{self.version}"
                pod["metadata"] = {**pod["metadata"], "uid": name}
                pod["status"] = {"phase": "Running", "podIP": address, "conditions": [ready]}
                self.pods[name] = pod
            elif isinstance(step, Delete):
                self.pods[step.obj["metadata"]["name"]]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:01Z"

    def endpoints_step(self) -> None:
        for step in plan_endpoints(SERVICE, list(self.pods.values()), list(self.slices.values())):
            if isinstance(step, Create):
                self.slices[step.obj["metadata"]["name"]] = dict(step.obj)
            elif isinstance(step, Change):
                assert step.kind == ENDPOINT_SLICE
                self.slices[step.obj["metadata"]["name"]].update(step.patch)

    def route_step(self) -> None:
        service = index_services([SERVICE], self.slices.values(), self.pods.values())["default", "yolo"]
        (port,) = service.ports
        warm = Cluster("c", "http", service.ready(port, {}))
        self.route = REST.in_place_of(warm, service, port, {})

    def stop_step(self) -> None:
        """After its drain, which outlasts the route's change."""
        self.pods = {name: pod for name, pod in self.pods.items() if "deletionTimestamp" not in pod["metadata"]}

    def pass_on(self) -> None:
        if self.held and not self.is_held:
            self.answered, self.held = self.answered + self.held, 0

    def settle(self) -> None:
        for _ in range(ROUNDS):
            self.wake_step()
            self.pods_step()
            self.endpoints_step()
            self.route_step()
            self.pass_on()


MOMENTS = range(len(DOWN) + 1)


@pytest.mark.parametrize("moments", [*itertools.combinations_with_replacement(MOMENTS, 2)])
def test_request_that_comes_while_it_goes_down_is_answered(moments: tuple[int, int]) -> None:
    """Two requests at any two moments; the activator may also act between any two steps."""
    for wakes_at in MOMENTS:
        machine = Machine()
        for moment in MOMENTS:
            for _ in range(moments.count(moment)):
                machine.arrive()
            if moment == wakes_at:
                machine.wake_step()
            if moment < len(DOWN):
                getattr(machine, f"{DOWN[moment]}_step")()
        machine.settle()
        assert (machine.answered, machine.lost, machine.held) == (2, 0, 0)
        assert machine.wakes <= 1


def test_traffic_before_the_look_keeps_it_awake() -> None:
    machine = Machine()
    machine.arrive()
    for step in DOWN:
        getattr(machine, f"{step}_step")()
    assert machine.replicas == 1
    assert not machine.is_held


def test_without_traffic_it_rests_and_the_route_names_the_activator() -> None:
    machine = Machine()
    for step in DOWN:
        getattr(machine, f"{step}_step")()
    assert (machine.replicas, machine.pods, machine.is_held) == (0, {}, True)


def test_stopping_before_the_route_moves_would_lose_requests() -> None:
    """The negative control: with the drain left out of the order, the same play finds the loss."""
    machine = Machine()
    for step in ("look", "scale", "pods", "stop"):
        getattr(machine, f"{step}_step")()
    machine.arrive()
    assert machine.lost == 1
