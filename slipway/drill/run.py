"""Holds drills one after another: the subject, its answers at rest, what one replica sustains, load, strikes, a row."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from slipway.drill.drills import SETTLE_S, Drill, OverloadDrill
from slipway.drill.errors import DrillError
from slipway.drill.load import Load
from slipway.drill.order import Order
from slipway.drill.overload import Overload
from slipway.drill.reply import Effort
from slipway.drill.shadow import inspect_mirroring
from slipway.drill.site import Site
from slipway.drill.strikes import kill_pod
from slipway.drill.subject import CANARY, Models, Subject
from slipway.drill.verdict import Act, Findings, Rest, Row, judge, rest_of
from slipway.kube.errors import KubeError

SHARE = 0.7
"""Of what the replica that is left sustains."""
MEASURED_BY = 4
"""Clients of the closed loop that measures it."""
MEASURE_S = 6.0
MIRRORED_OF = 200
IN_FLIGHT = 8
"""Requests under way at a time under overload: what comes above them is refused at once."""
OVERLOAD_S = 15.0
CALM_SHARE = 0.2
"""Of the peak: the load before, during and after, in which one sees when all is well again."""
CALM_S = 8.0


@dataclass(frozen=True)
class Plan:
    """``requests``: at least so many per drill. ``rate``: requests a second, 0 for SHARE of what is measured."""

    photos: tuple[str, ...]
    models: Models
    requests: int = 2000
    rate: float = 0.0
    without: frozenset[str] = frozenset()


async def hold(
    site: Site, drills: tuple[Drill | OverloadDrill, ...], plan: Plan, *, say: Callable[[str], None]
) -> list[Row]:
    """A row each, also of one that could not be held to its end. ``say``: what goes on, a line at a time.

    Raises DrillError where the platform is not well before the first of them.
    """
    # At rest nothing is switched off: an old Pod would answer for its successor.
    whole = Subject(plan.models, replicas=1)
    await site.install(whole)
    rest = dict(await at_rest(site, plan))
    if any(drill.both_versions for drill in drills):
        await site.install(replace(whole, uses_following=True))
        rest |= await at_rest(site, plan)
    alone = replace(whole, without=plan.without)
    rate = plan.rate
    if not rate and any(isinstance(drill, Drill) for drill in drills):
        await site.install(replace(alone, replicas=2))
        rate = SHARE * await remaining(site, plan)
        say(f"load: {rate:.1f} requests/s; {len(plan.photos)} photos")
    rows = []
    for drill in drills:
        say(f"{drill.name}: {drill.what}")
        try:
            rows.append(await _row(site, drill, plan, alone=alone, rest=rest, rate=rate))
        except (DrillError, KubeError) as exc:  # what the others showed counts all the same
            rows.append(_not_held(drill, plan, str(exc)))
            say(f"  not held: {exc}")
        else:
            say(f"  {rows[-1].lost} lost and {rows[-1].wrong} wrong of {rows[-1].sent}")
    return rows


async def _row(site: Site, drill: Drill | OverloadDrill, plan: Plan, *, alone: Subject, rest: Rest, rate: float) -> Row:
    if isinstance(drill, OverloadDrill):
        await site.install(replace(alone, in_flight=IN_FLIGHT))
        return await overloaded(site, drill, plan, rest=rest)
    await site.install(_subject_of(drill, alone))
    return await held(site, drill, plan, rest=rest, rate=rate)


def _not_held(drill: Drill | OverloadDrill, plan: Plan, problem: str) -> Row:
    return judge(
        drill.name,
        (),
        rest={},
        acts=(),
        promise=drill.promise,
        rate=0.0,
        effort=Effort(0, 0, 0),
        without=sorted(plan.without),
        findings=Findings(problems=(f"not held to its end: {problem}",)),
    )


def _subject_of(drill: Drill, alone: Subject) -> Subject:
    return replace(alone, replicas=2, try_s=drill.try_s, canary=drill.canary, has_shadow=drill.has_shadow)


async def at_rest(site: Site, plan: Plan) -> Rest:
    """The boxes of each photo, one after another."""
    order = Order(site.url(frozenset()), plan.photos, at_once=1, count=len(plan.photos))
    async with Load(order) as load:
        await load.finished()
    try:
        return rest_of(load.replies)
    except ValueError as exc:
        raise DrillError(f"{order.url}: {exc}") from exc


async def sustained(site: Site, plan: Plan) -> float:
    """Requests a second that the subject as it is answers to a few clients that wait for their answers."""
    async with Load(Order(site.url(frozenset()), plan.photos, at_once=MEASURED_BY)) as load:
        await asyncio.sleep(MEASURE_S)
    valid = [reply for reply in load.replies if reply.is_valid]
    if not valid:
        raise DrillError(f"{load.order.url}: no valid reply in {MEASURE_S:g} s; `slipway status` shows what is wrong")
    return len(valid) / (max(reply.done for reply in valid) - min(reply.due for reply in valid))


async def remaining(site: Site, plan: Plan) -> float:
    """Requests a second that one of two replicas answers while the other one dies and starts again beside it."""
    async with Load(Order(site.url(frozenset()), plan.photos, at_once=MEASURED_BY)) as load:
        await load.begun()
        act = await kill_pod(site, 0)
    valid = sum(one.is_valid and act.at <= one.done < act.at + act.recovery_s for one in load.replies)
    if not valid:
        raise DrillError(f"{load.order.url}: no valid reply while a Pod was away; `slipway status` shows what is wrong")
    return valid / act.recovery_s


async def held(site: Site, drill: Drill, plan: Plan, *, rest: Rest, rate: float) -> Row:
    """One drill on the subject as it is."""
    retries = drill.client_retries and "retries" not in plan.without
    findings = await mirroring(site, plan) if drill.has_shadow and "shadow" not in plan.without else Findings()
    acts: list[Act] = []
    async with Load(Order(site.url(plan.without), plan.photos, rate=rate, retries=retries)) as load:
        next_at = time.monotonic() + SETTLE_S
        while not load.is_over and (len(acts) < drill.least or len(load.replies) < plan.requests):
            await asyncio.sleep(next_at - time.monotonic())
            next_at = time.monotonic() + drill.every_s
            acts.append(await drill.strike(site, len(acts)))
            await asyncio.sleep(drill.settle_s)
    return judge(
        drill.name,
        load.replies,
        rest=rest,
        acts=acts,
        promise=drill.promise,
        rate=rate,
        effort=load.effort or Effort(0, 0, 0),
        begun=acts[0].at if acts else -math.inf,
        without=sorted(plan.without),
        findings=findings + drill.inspect(load.replies, acts) if drill.inspect else findings,
    )


async def mirroring(site: Site, plan: Plan) -> Findings:
    """How many of a fixed number of requests the shadow gets a copy of."""
    before = await site.served_by(CANARY)
    async with Load(Order(site.url(plan.without), plan.photos, at_once=1, count=MIRRORED_OF)) as load:
        await load.finished()
    await asyncio.sleep(SETTLE_S)  # nobody waits for the copies' answers
    return inspect_mirroring(len(load.replies), await site.served_by(CANARY) - before)


async def overloaded(site: Site, drill: OverloadDrill, plan: Plan, *, rest: Rest) -> Row:
    """A moderate load all the time, and in the middle so much more that together it is ``factor`` times the peak."""
    url, peak = site.url(plan.without), await sustained(site, plan)
    calm_order = Order(url, plan.photos, rate=CALM_SHARE * peak)
    async with Load(calm_order) as calm:
        await asyncio.sleep(SETTLE_S)
        begun = time.monotonic()
        async with Load(Order(url, plan.photos, rate=(drill.factor - CALM_SHARE) * peak)) as load:
            await load.begun()
            start = time.monotonic()
            await asyncio.sleep(OVERLOAD_S)
            end = time.monotonic()
        await asyncio.sleep(max(0.0, end + CALM_S - time.monotonic()))
    overload = Overload(drill.factor, (peak, await sustained(site, plan)), start, end)
    replies = sorted([*calm.replies, *load.replies], key=lambda reply: reply.due)
    return judge(
        drill.name,
        replies,
        rest=rest,
        acts=(overload.act(calm.replies),),
        promise=drill.promise,
        rate=drill.factor * peak,
        effort=load.effort or Effort(0, 0, 0),
        begun=begun,
        without=sorted(plan.without),
        findings=overload.inspect(replies, calm.replies),
    )
