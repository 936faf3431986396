"""The endpoint controller beside the workload controllers: it waits for nobody, and an object that nobody can read ends it not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from slipway.kube.client import Kube
from slipway.kube.kinds import ENDPOINT_SLICE, POD, REPLICA_SET, SERVICE, Kind
from slipway.kube.reflector import Reflector
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.service_endpoints import ServiceEndpoints
from slipway.onebox.runner.workload_writes import Writes
from slipway.onebox.runner.workloads import Workloads
from tests.onebox_runner.objects import NOW, deployment_object, pod_object, running_pod
from tests.waiting import eventually


class Api:
    """What it was asked to make; a Pod takes it for ever. It is its own reflector and tells no event."""

    def __init__(self, *objects: tuple[Kind, dict[str, Any]]) -> None:
        self._objects = objects
        self.asked: list[str] = []
        self.told: list[str] = []

    def objects(self, kind: Kind) -> dict[tuple[str, str], dict[str, Any]]:
        found = [obj for of, obj in self._objects if of == kind]
        return {(obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in found}

    async def create(self, obj: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.asked.append(obj["kind"])
        if obj["kind"] == "Pod":
            await asyncio.Event().wait()
        version = {"uid": f"uid-{obj['metadata']['name']}", "resourceVersion": "1"}
        return {**obj, "metadata": {**obj["metadata"], **version}}

    async def patch(self, kind: Kind, name: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        meta = {**body["metadata"], "name": name, "namespace": "default", "resourceVersion": "2"}
        return {"kind": kind.kind, **body, "metadata": meta}

    def record(self, obj: dict[str, Any], reason: str, *_: Any, **__: Any) -> None:
        self.told.append(f"{obj['metadata']['name']}: {reason}")

    cannot_plan = Events.cannot_plan


@contextlib.asynccontextmanager
async def controllers(api: Api) -> AsyncIterator[list[asyncio.Task[None]]]:
    cache, events = Cache(cast(Reflector, api)), cast(Events, api)
    writes = Writes(cast(Kube, api), cache, events, lambda pod: pod)
    endpoints, workloads = ServiceEndpoints(writes, cache, events), Workloads(writes, cache, events)
    tasks = [asyncio.create_task(workloads.run()), asyncio.create_task(endpoints.run())]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def service(name: str = "s", **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}], **spec}}


def replica_set() -> dict[str, Any]:
    return {**deployment_object(), "kind": "ReplicaSet"}


async def test_endpoints_are_written_while_the_making_of_a_pod_takes_for_ever() -> None:
    api = Api((REPLICA_SET, replica_set()), (SERVICE, service(selector={"app": "d"})))
    async with controllers(api):
        await eventually(lambda: sorted(api.asked) == [ENDPOINT_SLICE.kind, POD.kind])


@pytest.mark.parametrize(
    "odd",
    [
        (SERVICE, service("odd", selector={"app": "d"}, ports=[{"name": "no number"}])),
        (SERVICE, service("odd", selector={"app": "d"}, ports="all")),
        (SERVICE, {**service("odd"), "spec": ["all"]}),
    ],
)
async def test_service_that_cannot_be_read_is_told_and_the_others_have_their_endpoints(
    odd: tuple[Kind, dict[str, Any]],
) -> None:
    pod = running_pod("p", replica_set(), ready=True, at=NOW)
    pod["metadata"]["labels"] = {"app": "d"}
    pod["status"]["podIP"] = "127.0.0.2"
    api = Api(odd, (SERVICE, service("well", selector={"app": "d"})), (POD, pod))
    async with controllers(api) as tasks:
        await eventually(lambda: api.asked == [ENDPOINT_SLICE.kind])
        assert api.told == ["odd: FailedPlan"]
        assert not any(task.done() for task in tasks)


async def test_pod_that_cannot_be_read_stops_no_service_of_another_namespace() -> None:
    odd = pod_object("odd", metadata={"labels": {"app": "d"}}, status={"podIP": "127.0.0.2", "conditions": ["Ready"]})
    elsewhere = service("elsewhere", selector={"app": "d"})
    elsewhere["metadata"]["namespace"] = "other"
    api = Api((POD, odd), (SERVICE, elsewhere))
    async with controllers(api) as tasks:
        await eventually(lambda: api.asked == [ENDPOINT_SLICE.kind])
        assert not any(task.done() for task in tasks)
