"""Many wait for the same predictor: what the objects say of it is read once after each change."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from slipway.kube.pods import Trouble
from slipway.onebox.activator import hold as hold_module
from slipway.onebox.activator.held import NO_TARGET, NOT_AWAKE, Refused
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


async def test_nobody_waits_longer_than_the_activator_holds_however_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_module, "HOLD_S", 0.05)
    hold = Hold(cast(View, CountingView()), lambda: None)
    with pytest.raises(Refused, match="default/a did not start within") as refused:
        await hold.endpoint("default/a/s/80", size=1, within_s=3600)
    assert refused.value.reason == NOT_AWAKE
    assert not hold.held.counts


@pytest.mark.parametrize("header", ["", "default/a/s", "default/a/s/http", "default//s/80", "a/b/c/123456"])
async def test_request_that_names_no_target_wakes_nobody(header: str) -> None:
    woken: list[bool] = []
    hold = Hold(cast(View, CountingView()), lambda: woken.append(True))
    with pytest.raises(Refused) as refused:
        await hold.endpoint(header, size=1, within_s=20)
    assert (refused.value.reason, woken) == (NO_TARGET, [])
