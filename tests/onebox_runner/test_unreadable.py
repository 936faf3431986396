"""Objects that nobody can read: the workload controllers go on with the others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from slipway.kube.client import Kube
from slipway.kube.kinds import DEPLOYMENT, JOB, POD, Kind
from slipway.kube.reflector import Reflector
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.workload_writes import Writes
from slipway.onebox.runner.workloads import Workloads
from tests.onebox_runner.objects import deployment_object, pod_object
from tests.waiting import eventually

READY = {"type": "Ready", "status": "True"}


class Reflected:
    """Counts how often Pods were asked for."""

    def __init__(self, kind: Kind, obj: dict[str, Any]) -> None:
        self._kind, self._obj, self.rounds = kind, obj, 0

    def objects(self, kind: Kind) -> Mapping[tuple[str, str], dict[str, Any]]:
        self.rounds += kind == DEPLOYMENT
        return {("default", "odd"): self._obj} if kind == self._kind else {}


@pytest.mark.parametrize(
    ("kind", "odd"),
    [
        (POD, pod_object("odd", status={"conditions": [{**READY, "lastTransitionTime": "soon"}]})),
        (POD, pod_object("odd", status={"conditions": ["Ready"]})),
        (DEPLOYMENT, {**deployment_object(), "status": {"conditions": ["Progressing"]}}),
        (JOB, {**pod_object("odd"), "kind": "Job", "status": {"conditions": ["Complete"]}}),
    ],
)
async def test_object_that_cannot_be_read_does_not_end_the_controllers(kind: Kind, odd: dict[str, Any]) -> None:
    reflected = Reflected(kind, odd)
    cache, events = Cache(cast(Reflector, reflected)), Events(cast(Kube, None))
    workloads = Workloads(Writes(cast(Kube, None), cache, events, lambda pod: pod), cache, events)
    running = asyncio.create_task(workloads.run())

    def went_on() -> bool:
        workloads.wake()
        return running.done() or reflected.rounds > 6

    await eventually(went_on)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
