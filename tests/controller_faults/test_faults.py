"""Whatever happens between the controller and the API, in the end there is the same, and nothing of others is touched.

The API is that of one machine, in a process of its own: no kube-apiserver has been asked.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from slipway.controller import reconcile
from slipway.controller.meta import DEPLOYMENT_ID
from slipway.controller.owners import is_owned_by
from slipway.kube.kinds import SELDON_DEPLOYMENT
from tests.controller_faults.conftest import Rig, make_hasty, make_rig
from tests.controller_faults.proxy import Plan, Request
from tests.controller_faults.world import HANGS_S
from tests.onebox_api.conftest import ApiProcess
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("hasty"), pytest.mark.timeout(3 * HANGS_S)]
END = {"yolo": "Available", "yolo-scaled": "Available", "taken": "Failed"}
PLANS = [
    (Plan("break", "watch", 0.6),),
    (Plan("expire", "watch", 0.6),),
    (Plan("repeat", "watch", 1.0),),
    (Plan("refuse", "watch", 0.5, 410, "Expired"),),
    (Plan("refuse", "list", 0.5, 410, "Expired"),),
    (Plan("refuse", "write", 0.4, 409, "Conflict"),),
    (Plan("refuse", "any", 0.1, 429, "TooManyRequests"),),
    (Plan("refuse", "any", 0.15, 500, "InternalError"),),
    (Plan("hang", "any", 0.03), Plan("hang-after", "write", 0.03)),
    (Plan("truncate", "any", 0.15),),
    (Plan("reset", "any", 0.15),),
    (Plan("lose", "write", 0.3),),
    (
        Plan("break", "watch", 0.5),
        Plan("repeat", "watch", 0.5),
        Plan("refuse", "write", 0.05, 409, "Conflict"),
        Plan("refuse", "any", 0.05, 503, "ServiceUnavailable"),
        Plan("lose", "write", 0.05),
        Plan("truncate", "any", 0.05),
    ),
]
REQUESTS_AT_MOST = 8
"""Times the requests of a run without faults: what is more is a loop that does not wait."""
RUNS_AT_ONCE = 5
Snapshot = dict[str, dict[str, Any]]
Calm = tuple[Snapshot, int]


async def live(rig: Rig) -> None:
    """What people do, and how it must end."""
    await rig.world.create_all()
    await rig.world.until({"yolo": "Available", "yolo-scaled": "Available", "iris": "Available"})
    await rig.world.edit_all()
    await rig.world.until(END)
    await rig.world.until_gone("yolo-canary", "iris")
    await rig.world.until_set_back()


async def settled(rig: Rig, wanted: Snapshot) -> None:
    """Raises AssertionError with the first differences."""

    async def same() -> bool:
        return await rig.world.snapshot() == wanted

    try:
        await eventually(same, timeout_s=HANGS_S)
    except AssertionError:
        found = await rig.world.snapshot()
        assert sorted(found) == sorted(wanted)
        assert found == wanted
        raise


async def unless(too_much: Callable[[], str], run: Coroutine[Any, Any, None]) -> None:
    """``run`` to its end; AssertionError with what ``too_much`` says as soon as it says something."""
    task = asyncio.create_task(run)
    try:
        await eventually(lambda: task.done() or too_much(), timeout_s=HANGS_S, what="the end of the run")
        assert task.done(), too_much()
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def complaints(rig: Rig, touched: set[str], calm_requests: int) -> list[str]:
    """What a run has done that it must not, in sentences."""
    said = [f"{name} of others was changed" for name in sorted(touched)]
    said += [f"deleted {request.path}, which {why}" for request in rig.proxy.deleted() if (why := not_ours(request))]
    return [*said, *filter(None, [too_many(rig, calm_requests)])]


def too_many(rig: Rig, calm_requests: int) -> str:
    """The requests, where there are so many that nobody waits between them; else empty."""
    count = len(rig.proxy.seen)
    return f"{count} requests, {calm_requests} without faults" if count > REQUESTS_AT_MOST * calm_requests else ""


def not_ours(request: Request) -> str:
    """Why an object that was deleted was not the controller's to delete; empty where it was, or was gone already."""
    if request.target is None:
        return ""
    owners = [owner["kind"] for owner in request.target["metadata"].get("ownerReferences") or ()]
    return "" if owners == ["SeldonDeployment"] else f"belongs to {owners or 'nobody'}"


@pytest.fixture(scope="module")
def calm() -> list[Calm]:
    """The run without faults, once there is one."""
    return []


async def without_faults(api: ApiProcess, calm: list[Calm]) -> Calm:
    if not calm:
        calm.append(({}, 0))
        async with make_rig(api) as rig:
            await rig.start()
            await live(rig)
            assert complaints(rig, await rig.world.touched(), len(rig.proxy.seen)) == []
            assert rig.proxy.deleted(), "the left-overs of a predictor that is gone"
            calm[0] = await rig.world.snapshot(), len(rig.proxy.seen)
    assert calm[0][1], "there is nothing to compare with: the run without faults has failed"
    return calm[0]


async def test_run_without_faults_is_repeatable_and_comes_to_rest(api: ApiProcess, calm: list[Calm]) -> None:
    wanted, requests = await without_faults(api, calm)
    taken = wanted["seldondeployments.machinelearning.seldon.io taken"]["status"]
    assert "taken-default-classifier is there already and belongs to nobody" in taken["description"]
    assert not any(name.endswith(" theirs-default") for name in wanted), "it is labelled for another controller"
    async with make_rig(api) as rig:
        await rig.start()
        await live(rig)
        await settled(rig, wanted)
        assert len(rig.proxy.seen) < 2 * requests


@pytest.fixture(scope="module")
def outcomes(api: ApiProcess, calm: list[Calm]) -> dict[tuple[Plan, ...], str]:
    """Of each plan what went wrong, empty for nothing: a few run at once, as they mostly wait."""

    async def run_all() -> dict[tuple[Plan, ...], str]:
        slots = asyncio.Semaphore(RUNS_AT_ONCE)
        await without_faults(api, calm)
        return dict(await asyncio.gather(*(run(plans, slots) for plans in PLANS)))

    async def run(plans: tuple[Plan, ...], slots: asyncio.Semaphore) -> tuple[tuple[Plan, ...], str]:
        async with slots:
            try:
                async with asyncio.timeout(HANGS_S):
                    return plans, await suffer(api, calm, plans)
            except Exception as error:  # noqa: BLE001  - it is the outcome of this plan, and its test says so
                return plans, f"{type(error).__name__}: {error}"

    with pytest.MonkeyPatch.context() as patch:
        make_hasty(patch)
        return asyncio.run(run_all())


async def suffer(api: ApiProcess, calm: list[Calm], plans: tuple[Plan, ...]) -> str:
    """What must end is told by requests, not by seconds: of sixteen that a look asks, two or three fail, however long each takes."""
    wanted, requests = await without_faults(api, calm)

    async def whole() -> None:
        await live(rig)
        await settled(rig, wanted)

    async with make_rig(api, plans) as rig:
        await rig.start()
        await unless(lambda: too_many(rig, requests), whole())
        assert rig.is_running
        assert rig.proxy.never() == [], rig.proxy.broken
        assert rig.proxy.broken.total() > 3, rig.proxy.broken
        return "\n".join(complaints(rig, await rig.world.touched(), requests))


@pytest.mark.parametrize("plans", PLANS, ids=lambda plans: "+".join(map(str, plans))[:60])
def test_fault_changes_nothing_in_the_end(outcomes: dict[tuple[Plan, ...], str], plans: tuple[Plan, ...]) -> None:
    assert outcomes[plans] == ""


@pytest.mark.parametrize("every", [7, 13])
async def test_controller_that_dies_amid_its_writes_goes_on_where_it_was(
    api: ApiProcess, calm: list[Calm], every: int
) -> None:
    wanted, requests = await without_faults(api, calm)
    async with make_rig(api) as rig:
        writes, deaths = 0, 0
        wake = asyncio.Event()

        def count(_: Request) -> None:
            nonlocal writes
            writes += 1
            if writes % every == 0:
                wake.set()

        async def die_again_and_again() -> None:
            nonlocal deaths
            while True:
                await wake.wait()
                await rig.kill()
                wake.clear()
                deaths += 1
                await rig.start()

        rig.proxy.on_write = count
        await rig.start()
        killer = asyncio.create_task(die_again_and_again())
        await live(rig)
        await settled(rig, wanted)
        killer.cancel()
        await asyncio.gather(killer, return_exceptions=True)
        assert deaths > 3
        assert complaints(rig, await rig.world.touched(), requests * deaths) == []


async def test_checks_see_a_controller_that_takes_what_is_others(
    api: ApiProcess, calm: list[Calm], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: without its two questions the same controller breaks others' things."""
    wanted, requests = await without_faults(api, calm)
    yolo: list[str] = []

    def by_label(obj: dict[str, Any], uid: str) -> bool:
        return is_owned_by(obj, uid) or (uid in yolo and obj["metadata"]["labels"].get(DEPLOYMENT_ID) == "yolo")

    monkeypatch.setattr(reconcile, "is_owned_by", by_label)
    monkeypatch.setattr(reconcile, "check_free", lambda *_: None)
    async with make_rig(api) as rig:
        await rig.start()
        await rig.world.create_all()
        found = await rig.world.kube.get(SELDON_DEPLOYMENT, "yolo", namespace=rig.world.namespace)
        yolo.append(found["metadata"]["uid"])

        async def said() -> bool:
            text = "\n".join(complaints(rig, await rig.world.touched(), requests))
            return all(part in text for part in SAID)

        await eventually(said, timeout_s=HANGS_S, what="the complaints")
        assert await rig.world.snapshot() != wanted


SAID = (
    "services taken-default-classifier of others was changed",
    "services/yolo-by-hand, which belongs to nobody",
    "deployments/an-owner-of-others, which belongs to ['ConfigMap']",
)


async def test_run_that_asks_too_much_ends_at_once_and_another_at_its_end() -> None:
    asked = itertools.count()
    with pytest.raises(AssertionError, match="10 requests"):
        await unless(lambda: "10 requests" if next(asked) > 2 else "", never())
    with pytest.raises(RuntimeError, match="of the run"):
        await unless(str, broken())


async def never() -> None:
    await asyncio.Event().wait()


async def broken() -> None:
    raise RuntimeError("of the run")


def test_checks_see_a_loop_that_does_not_wait() -> None:
    class Busy:
        seen = [Request("GET", "/api/v1/pods", {}, "", "pass", 200, 0.0)] * 900

        @staticmethod
        def deleted() -> list[Request]:
            return []

    class Fake:
        proxy = Busy

    assert complaints(Fake, set(), 100) == ["900 requests, 100 without faults"]  # type: ignore[arg-type]
