"""What drills do to the platform: each strike does one thing and waits until all is well again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from slipway.contract.names import ORCHESTRATOR
from slipway.drill import subject
from slipway.drill.errors import DrillError
from slipway.drill.order import TIMEOUT_S
from slipway.drill.site import Pod, Site, restarts
from slipway.drill.verdict import Act
from slipway.kube.pods import is_ready
from slipway.onebox.supervisor.history import STABLE_AFTER_S

FROZEN_S = TIMEOUT_S + 1
"""How long a frozen model stays frozen after it was seen to be not ready: what waits for it is lost by then."""
BROKEN_S = 10.0
"""How long a version that does not start stays declared."""
PERCENTAGES = (10, 0, 50, 0, 90)
SPLIT_WITHIN_S = 1.0
"""The promise: a new split within a second of the apply's answer."""
KILL_EACH = 20
RESTARTS = 2
"""Of one container, then its Pod is replaced before the next strike: the third restart waits for 20 s, the sixth for 5 minutes."""
ENVOYS = ("envoy-0", "envoy-1")
Strike = Callable[[Site, int], Awaitable[Act]]
"""Given the site and how many strikes there were before."""


async def kill_pod(site: Site, count: int) -> Act:
    """All containers of a Pod at once (-9), in the middle of what they do; then the Pod is deleted, so that another comes."""
    pod = _turn(await site.pods(), count)
    at = time.monotonic()
    return Act(pod["metadata"]["name"], at, await _kill(site, pod, subject.LIVE, site.applied.replicas))


def kill_container(container: str) -> Strike:
    """-9 to the process group of one container."""

    async def strike(site: Site, _count: int) -> Act:
        pod = await _least_restarted(site, container)
        before, at = restarts(pod, container), time.monotonic()
        site.signal_container(pod, container, signal.SIGKILL)

        async def restarted() -> bool:
            now = [item for item in await site.pods() if item["metadata"]["uid"] == pod["metadata"]["uid"]]
            return any(restarts(item, container) > before and is_ready(item) for item in now)

        return Act(f"{pod['metadata']['name']}/{container}", at, await site.wait(restarted, what=f"{container} again"))

    return strike


kill_executor = kill_container(ORCHESTRATOR)


async def kill_one_envoy(site: Site, count: int) -> Act:
    return await _kill_envoys(site, (ENVOYS[count % len(ENVOYS)],))


async def kill_both_envoys(site: Site, _count: int) -> Act:
    return await _kill_envoys(site, ENVOYS)


async def flip(site: Site, count: int) -> Act:
    """The next percentage; well means that a second has passed since the answer to the apply."""
    percent = PERCENTAGES[count % len(PERCENTAGES)]
    at = time.monotonic()
    await site.apply(replace(site.applied, canary=percent))
    await asyncio.sleep(SPLIT_WITHIN_S)
    well_at = time.monotonic()
    if count % KILL_EACH == KILL_EACH - 1:
        await kill_pod(site, count)
    return Act(str(percent), at, well_at)


async def freeze_model(site: Site, count: int) -> Act:
    """A model that accepts connections and never answers (SIGSTOP); well means that nobody is sent to it any more."""
    pod = _turn(await site.pods(), count)
    at = time.monotonic()
    site.signal_container(pod, subject.DETECTOR, signal.SIGSTOP)
    try:
        noticed = await site.wait(lambda: _is_unready(site, pod), what="the frozen model is not ready")
        await asyncio.sleep(FROZEN_S)
    finally:
        site.signal_container(pod, subject.DETECTOR, signal.SIGCONT)
    await site.wait(lambda: site.has_ready(site.applied.replicas), what="the thawed model")
    return Act(pod["metadata"]["name"], at, noticed)


def without_part(part: str) -> Strike:
    """A service of the platform stops, a Pod dies meanwhile and is replaced without it, then the service comes back."""

    async def strike(site: Site, count: int) -> Act:
        try:
            await site.stop_part(part)
            return await kill_pod(site, count)
        finally:
            await site.start_part(part)

    return strike


async def shadow_dies(site: Site, _count: int) -> Act:
    """The shadow's executor hangs (SIGSTOP), which is worse than to be gone; then its Pod dies; well is before that."""
    pod = _turn(await site.pods(subject.CANARY), 0)
    at = time.monotonic()
    site.signal_container(pod, ORCHESTRATOR, signal.SIGSTOP)
    await asyncio.sleep(FROZEN_S)
    well_at = time.monotonic()
    await _kill(site, pod, subject.CANARY, 1)
    return Act(pod["metadata"]["name"], at, well_at)


async def roll(site: Site, _count: int) -> Act:
    """The other version of the model, by a rolling update."""
    wanted = replace(site.applied, uses_following=not site.applied.uses_following)
    at = time.monotonic()
    await site.apply(wanted)
    await site.await_well(wanted)
    return Act(f"to {wanted.uri}", at, time.monotonic())


async def roll_broken(site: Site, _count: int) -> Act:
    """A version whose model does not start is tried, and taken back; well means that the version before serves with all its replicas."""
    good, at = site.applied, time.monotonic()
    try:
        await site.apply(replace(good, is_broken=True))
        await site.wait(lambda: _is_tried(site), what="a Pod of the version that does not start")
        await asyncio.sleep(BROKEN_S)
    finally:
        await site.apply(good)
    back = time.monotonic()
    await site.await_well(good)
    return Act("to a broken version and back", at, at + time.monotonic() - back)


async def _least_restarted(site: Site, container: str) -> Pod:
    """The Pod whose next restart waits least; where all have been restarted often one is replaced, as kubectl does."""
    pod = min(_some(await site.pods()), key=lambda item: restarts(item, container))
    if restarts(pod, container) < RESTARTS:
        return pod
    await site.delete_pod(pod, grace_s=None)

    async def replaced() -> bool:
        return await site.has_ready(site.applied.replicas)

    await site.wait(replaced, what=f"another Pod for {pod['metadata']['name']}")
    return min(_some(await site.pods()), key=lambda item: restarts(item, container))


def _turn(pods: list[Pod], count: int) -> Pod:
    return _some(pods)[count % len(pods)]


def _some(pods: list[Pod]) -> list[Pod]:
    if not pods:
        raise DrillError(f"no Pod is there to strike: `kubectl get pods -n {subject.NAMESPACE}` shows what is")
    return pods


async def _kill(site: Site, pod: Pod, predictor: str, replicas: int) -> float:
    """-9 to every container, and the Pod deleted; when ``replicas`` others of its predictor are ready."""
    for container in pod["spec"]["containers"]:
        site.signal_container(pod, container["name"], signal.SIGKILL)
    await site.delete_pod(pod, grace_s=0)

    async def replaced() -> bool:
        is_gone = all(item["metadata"]["uid"] != pod["metadata"]["uid"] for item in await site.pods(predictor))
        return is_gone and await site.has_ready(replicas, predictor)

    return await site.wait(replaced, what=f"another Pod of {predictor}")


async def _is_tried(site: Site) -> bool:
    """Whether a Pod has a container with the broken command."""
    containers = [one for pod in await site.pods() for one in pod["spec"]["containers"]]
    return any(one.get("command") == subject.BROKEN_COMMAND for one in containers)


async def _is_unready(site: Site, pod: Pod) -> bool:
    return any(item["metadata"]["uid"] == pod["metadata"]["uid"] and not is_ready(item) for item in await site.pods())


async def _are_stable(site: Site, names: tuple[str, ...]) -> bool:
    return all(map(site.is_stable, names))


async def _kill_envoys(site: Site, names: tuple[str, ...]) -> Act:
    """Not before an earlier death is forgotten by the supervisor, which else waits before it starts one again."""
    await site.wait(lambda: _are_stable(site, names), what=f"{' and '.join(names)} ready for {STABLE_AFTER_S:g} s")
    at = time.monotonic()
    pids = {name: site.kill_process(name) for name in names}

    async def back() -> bool:
        return all(site.is_back(name, pid) for name, pid in pids.items())

    return Act(" and ".join(names), at, await site.wait(back, what=" and ".join(names)))
