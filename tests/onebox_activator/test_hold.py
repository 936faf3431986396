"""Many wait for the same predictor: what the objects say of it is read once after each change."""

from __future__ import annotations

import asyncio
from typing import cast

from slipway.kube.pods import Trouble
from slipway.onebox.activator.hold import Hold
from slipway.onebox.activator.view import View
from slipway.onebox.mesh.ir import Endpoint
from slipway.onebox.mesh.sleepers import Target
from tests.waiting import eventually

READY = Endpoint("127.20.0.1", 8000)


class CountingView:
    def __init__(self) -> None:
        self.looks = 0
        self.ready: set[str] = set()

    def endpoints(self, target: Target) -> tuple[Endpoint, ...]:
        self.looks += 1
        return (READY,) if target.deployment in self.ready else ()

    def trouble(self, target: Target) -> Trouble | None:
        del target
        return None


async def test_after_a_change_all_who_wait_for_the_same_look_once() -> None:
    view = CountingView()
    hold = Hold(cast(View, view), lambda: None)

    async with asyncio.TaskGroup() as tasks:
        waiting = {
            name: [tasks.create_task(hold.endpoint(f"default/{name}/s/80", size=1, within_s=20)) for _ in range(50)]
            for name in ("a", "b")
        }
        await eventually(lambda: hold.held.counts.total() == 100)
        view.looks = 0
        view.ready.add("a")
        await hold.news()
        assert {await task for task in waiting["a"]} == {READY}
        await eventually(lambda: view.looks == 2, what="one look for each of two targets")
        view.ready.add("b")
        await hold.news()
        assert {await task for task in waiting["b"]} == {READY}
        assert view.looks == 3
    assert not hold.held.counts


async def test_who_comes_after_nobody_waits_any_more_looks_anew() -> None:
    view = CountingView()
    hold = Hold(cast(View, view), lambda: None)
    first = asyncio.create_task(hold.endpoint("default/a/s/80", size=1, within_s=20))
    await eventually(lambda: hold.held.counts.total() == 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    view.ready.add("a")
    assert await hold.endpoint("default/a/s/80", size=1, within_s=20) == READY
