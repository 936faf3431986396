"""The autoscaler's loop with the API played: what it writes, when, and what it does when it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from slipway.kube.errors import ApiError
from slipway.kube.kinds import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER, POD, REPLICA_SET, Kind
from slipway.onebox.runner import scaling
from slipway.onebox.runner.hpa_limits import History
from slipway.onebox.runner.hpa_pods import Source
from slipway.onebox.runner.scaling import Scaling
from slipway.onebox.runner.scaling_series import Counter, Point
from tests.onebox_runner.objects import deployment_object
from tests.onebox_runner.test_hpa import NOW, pod

Object = dict[str, Any]


class World:
    """The API's objects, the cache of them, its events, and a clock; ``uses``: millicores of each Pod."""

    def __init__(self, replicas: int, **spec: Any) -> None:
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
        metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}}
        whole = {"scaleTargetRef": reference, "maxReplicas": 5, "metrics": [metric], **spec}
        meta = {"name": "h", "namespace": "default", "uid": "uid-h", "resourceVersion": "1"}
        self.deployment = deployment_object(replicas)
        self.hpas: list[Object] = [{"kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": whole}]
        self.uses = dict.fromkeys((f"p{index}" for index in range(replicas)), 0)
        self.totals: dict[str, float] = {}
        self.now = NOW
        self.ahead_s = 0.0  # of the wall clock
        self.writes: list[tuple[str, Object]] = []
        self.events: list[tuple[str, str]] = []
        self.refuses_scale = False
        self.others: list[Object] = []  # Deployments
        self.odd: dict[str, Object] = {}  # Pods with fields of their own

    def objects(self, kind: Kind) -> dict[tuple[str, str], Object]:
        pods = [{**pod(name), **self.odd.get(name, {})} for name in self.uses]
        for item in pods:
            item["metadata"]["labels"] = {"app": "d"}
        found = {
            DEPLOYMENT: [self.deployment, *self.others],
            REPLICA_SET: [],
            POD: pods,
            HORIZONTAL_POD_AUTOSCALER: self.hpas,
        }
        return {(obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in found[kind]}

    def remember(self, kind: Kind, answer: Object) -> None:
        assert kind == HORIZONTAL_POD_AUTOSCALER
        self.hpas = [answer if hpa["metadata"]["uid"] == answer["metadata"]["uid"] else hpa for hpa in self.hpas]

    async def patch(self, kind: Kind, name: str, body: Object, *, subresource: str, **_: Any) -> Object:
        if subresource == "scale":
            if self.refuses_scale:
                raise ApiError({"code": 403, "message": "not you", "reason": "Forbidden"})
            self.deployment["spec"]["replicas"] = body["spec"]["replicas"]
            self.writes.append(("scale", body))
            return {}
        self.writes.append(("status", body["status"]))
        (old,) = (hpa for hpa in self.hpas if hpa["metadata"]["name"] == name)
        status = {**(old.get("status") or {}), **body["status"]}
        return {**old, "status": {key: value for key, value in status.items() if value is not None}}

    def record(self, obj: Object, reason: str, message: str, **_: Any) -> None:
        self.events.append((reason, message))

    def read(self, *_: Any) -> dict[Source, Point]:
        for name, milli in self.uses.items():
            self.totals[name] = self.totals.get(name, 0.0) + milli / 1000 * scaling.SYNC_S
        return {Source(f"uid-{name}", "main", "cpu"): Counter(total) for name, total in self.totals.items()}

    def statuses(self) -> list[Object]:
        return [body for what, body in self.writes if what == "status"]

    def conditions(self) -> dict[str, str]:
        return {item["type"]: item["reason"] for item in self.hpas[0]["status"]["conditions"]}


@contextmanager
def scaled(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scaling]:
    monkeypatch.setattr(scaling, "read_resources", world.read)
    monkeypatch.setattr(scaling, "boot_time", lambda: world.now)
    monkeypatch.setattr(scaling.time, "time", lambda: world.now + world.ahead_s)
    session: aiohttp.ClientSession = None  # type: ignore[assignment]  # no metric of these autoscalers is scraped
    yield Scaling(world, world, world, session=session, leaders=lambda _: {})  # type: ignore[arg-type]


async def look(world: World, autoscaler: Scaling, *, times: int = 1) -> None:
    for _ in range(times):
        await autoscaler.round()
        world.now += scaling.SYNC_S


async def test_at_rest_nothing_is_written(monkeypatch: pytest.MonkeyPatch):
    world = World(1)
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler, times=70)  # the window of five minutes is a condition that ends
        written = len(world.writes)
        await look(world, autoscaler, times=100)
    assert len(world.writes) == written <= 4
    assert world.conditions()["ScalingActive"] == "ValidMetricFound"


async def test_measurements_that_change_at_every_look_are_written_every_15_s(monkeypatch: pytest.MonkeyPatch):
    world = World(1)
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler, times=5)
        before = len(world.statuses())
        for step in range(30):
            world.uses["p0"] = 450 + 10 * (step % 7)  # inside the tolerance
            await look(world, autoscaler)
    assert 8 <= len(world.statuses()) - before <= 11


@pytest.mark.parametrize("ahead_s", [-3600.0, 3600.0])
async def test_windows_last_as_long_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch, ahead_s: float):
    world = World(2)
    world.uses = {"p0": 500, "p1": 500}
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler, times=4)
        world.ahead_s = ahead_s
        world.uses = {"p0": 100, "p1": 100}
        await look(world, autoscaler, times=55)
        assert world.deployment["spec"]["replicas"] == 2  # the window is of five minutes
        await look(world, autoscaler, times=10)
    assert world.deployment["spec"]["replicas"] == 1
    changed_at = datetime.fromisoformat(world.hpas[0]["status"]["lastScaleTime"]).timestamp()
    assert changed_at == pytest.approx(world.now + ahead_s, abs=60)


async def test_load_scales_and_says_so_once(monkeypatch: pytest.MonkeyPatch):
    world = World(1)
    world.uses["p0"] = 900
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler, times=4)
    assert world.deployment["spec"]["replicas"] == 2
    why = "New size: 2; reason: cpu resource utilization (percentage of request) above target"
    assert world.events.count(("SuccessfulRescale", why)) == 1
    assert world.hpas[0]["status"]["lastScaleTime"]


async def test_a_refused_change_is_a_condition_and_one_event_until_it_works(monkeypatch: pytest.MonkeyPatch):
    world = World(1)
    world.uses["p0"], world.refuses_scale = 900, True
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler, times=6)
        assert world.deployment["spec"]["replicas"] == 1
        assert world.conditions()["AbleToScale"] == "FailedUpdateScale"
        refused = [message for reason, message in world.events if reason == "FailedRescale"]
        assert len(refused) == 1
        assert "not you" in refused[0]
        world.refuses_scale = False
        await look(world, autoscaler)
    assert world.deployment["spec"]["replicas"] == 2


async def test_rivals_and_a_missing_target_move_nothing_and_say_why(monkeypatch: pytest.MonkeyPatch):
    world = World(1)
    world.uses["p0"] = 900
    other = {**world.hpas[0], "metadata": {**world.hpas[0]["metadata"], "name": "i", "uid": "uid-i"}}
    world.hpas.append(other)
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler, times=4)
        assert world.deployment["spec"]["replicas"] == 1
        assert world.conditions()["ScalingActive"] == "AmbiguousSelector"
        assert [reason for reason, _ in world.events] == ["AmbiguousSelector"] * 2
        world.deployment["metadata"]["name"] = "e"
        await look(world, autoscaler)
    assert world.conditions()["AbleToScale"] == "FailedGetScale"


async def test_what_is_remembered_of_an_autoscaler_goes_with_it(monkeypatch: pytest.MonkeyPatch):
    world = World(1)
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler)
        assert autoscaler._histories["uid-h"] != History()
        world.hpas.clear()
        await look(world, autoscaler)
        assert not autoscaler._histories
        assert not autoscaler._written
        assert not autoscaler._said


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (
            {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "abc"}}}]}},
            "'abc' is not a quantity such as 500m, 2 or 512Mi",
        ),
        (
            {"status": {"phase": "Running", "startTime": "x", "conditions": [{"type": "Ready", "status": "True"}]}},
            "'x'",
        ),
        ({"status": {"phase": "Running", "conditions": [{"status": "True"}]}}, "KeyError: 'type'"),
    ],
)
async def test_a_pod_that_nobody_can_read_is_a_condition_that_names_it(
    odd: Object, why: str, monkeypatch: pytest.MonkeyPatch
):
    world = World(2)
    world.uses["p0"], world.odd["p1"] = 900, odd
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler, times=4)
    assert world.deployment["spec"]["replicas"] == 2
    active = next(item for item in world.hpas[0]["status"]["conditions"] if item["type"] == "ScalingActive")
    assert active["reason"] == "FailedGetResourceMetric"
    assert "Pod p1 cannot be read" in active["message"]
    assert why in active["message"]


async def test_conditions_that_nobody_can_read_are_written_anew(monkeypatch: pytest.MonkeyPatch):
    world = World(1)
    world.hpas[0]["status"] = {"conditions": [{"type": "AbleToScale", "status": "True"}, {"status": "True"}]}
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler)
    assert all(item["type"] and item["lastTransitionTime"] for item in world.hpas[0]["status"]["conditions"])


async def test_an_autoscaler_of_what_nobody_can_read_says_so_once_and_stops_no_other(monkeypatch: pytest.MonkeyPatch):
    world = World(1)
    meta = {**world.hpas[0]["metadata"], "name": "a", "uid": "uid-a"}
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "odd"}
    world.hpas.insert(0, {**world.hpas[0], "metadata": meta})
    world.hpas[0]["spec"] = {**world.hpas[0]["spec"], "scaleTargetRef": reference}
    odd = deployment_object(1)
    odd["metadata"] |= {"name": "odd", "uid": "uid-odd"}
    odd["spec"]["replicas"] = "many"
    world.others = [odd]
    world.uses["p0"] = 900
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler, times=4)
    assert world.deployment["spec"]["replicas"] == 2
    complaints = [message for reason, message in world.events if reason == "FailedScale"]
    assert len(complaints) == 1
    assert "'many'" in complaints[0]


async def test_who_scales_by_hand_while_it_is_measured_wins(monkeypatch: pytest.MonkeyPatch):
    world = World(1)
    world.uses["p0"] = 900
    with scaled(world, monkeypatch) as autoscaler:
        await look(world, autoscaler)  # the next look scales up
        measure = world.read

        def read(*asked: Any) -> dict[Source, Point]:
            spec = {**world.deployment["spec"], "replicas": 0}
            world.deployment = {**world.deployment, "spec": spec}  # kubectl scale --replicas=0
            return measure(*asked)

        monkeypatch.setattr(scaling, "read_resources", read)
        await look(world, autoscaler)
    assert "scale" not in [what for what, _ in world.writes]
    assert world.deployment["spec"]["replicas"] == 0
    assert world.conditions()["ScalingActive"] == "ScalingDisabled"
