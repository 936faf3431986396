"""The platform that drills are held on: its API, its processes, and the one SeldonDeployment that is theirs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import aiohttp

from slipway.drill import subject
from slipway.drill.errors import DrillError
from slipway.executor.metrics import SERVER_SECONDS
from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import NAMESPACE, POD, SELDON_DEPLOYMENT, SERVICE, VIRTUAL_SERVICE
from slipway.kube.pods import is_ready
from slipway.onebox.paths import Paths
from slipway.onebox.services.pods import living_containers
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.services.start import Platform, PlatformError, names_of, request
from slipway.onebox.services.wait import NotUpError, await_ready, stop
from slipway.onebox.settings import HOST, load_settings
from slipway.onebox.supervisor.history import STABLE_AFTER_S, Phase
from slipway.onebox.supervisor.process import signal_group
from slipway.onebox.supervisor.state import load_states

MANAGER = "slipway-drill"
POLL_S = 0.05
WELL_WITHIN_S = 180.0
"""How long anything may take to be well again before the drill goes on without it."""
ANSWERS_WITHIN_S = 5.0
HTTP_PORT = 8000
SERVED = f"{SERVER_SECONDS}_count"
MINE = f"{subject.OBJECTS_LABEL}={subject.NAME}"
Pod = dict[str, Any]


class Site:
    """Effects only; what to do is decided elsewhere."""

    def __init__(self, kube: Kube, paths: Paths) -> None:
        self._kube, self._paths = kube, paths
        self._applied: subject.Subject | None = None

    @property
    def applied(self) -> subject.Subject:
        """What was applied last."""
        if self._applied is None:
            raise DrillError("nothing has been applied yet")
        return self._applied

    def url(self, without: frozenset[str]) -> str:
        return f"http://{HOST}:{load_settings(self._paths.settings).gateway_port}{subject.path(without)}"

    async def apply(self, wanted: subject.Subject) -> None:
        """Ask for it; ``await_well`` waits."""
        await self._kube.apply(dict(subject.NAMESPACE_OBJECT), field_manager=MANAGER)
        await self._kube.apply(wanted.manifest(), field_manager=MANAGER)
        self._applied = wanted

    async def install(self, wanted: subject.Subject) -> None:
        """Applied, well, and with what ``without`` switches off outside of the SeldonDeployment switched off."""
        await self.apply(wanted)
        await self.await_well(wanted)
        if "retries" in wanted.without:
            found = await self._kube.get(VIRTUAL_SERVICE, subject.NAME, namespace=subject.NAMESPACE)
            await self._kube.apply(subject.without_retries(found), field_manager=MANAGER)
        if "readiness" in wanted.without:
            services = await self._kube.list(SERVICE, namespace=subject.NAMESPACE, label_selector=MINE)
            for item in services.items:
                name, body = item["metadata"]["name"], {"spec": {"publishNotReadyAddresses": True}}
                await self._kube.patch(SERVICE, name, body, type="merge", namespace=subject.NAMESPACE)
        await self.wait(lambda: self.is_routed(wanted.without), what=f"a route to {self.url(wanted.without)}")

    async def is_routed(self, without: frozenset[str]) -> bool:
        """Whether the gateway knows the way: a Pod answers a GET with 405. One that does not answer yet does not know it yet."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
                asyncio.timeout(ANSWERS_WITHIN_S),
                session.get(self.url(without)) as answer,
            ):
                return answer.status == HTTPStatus.METHOD_NOT_ALLOWED
        except (TimeoutError, aiohttp.ClientError):
            return False

    async def remove(self) -> None:
        """The namespace with all that is in it; returns when it is gone."""
        try:
            await self._kube.delete(NAMESPACE, subject.NAMESPACE)
        except NotFound:
            return

        async def gone() -> bool:
            try:
                await self._kube.get(NAMESPACE, subject.NAMESPACE)
            except NotFound:
                return True
            return False

        await self.wait(gone, what=f"the end of namespace {subject.NAMESPACE}")

    async def pods(self, predictor: str = subject.LIVE) -> list[Pod]:
        """Those that are not going, oldest first."""
        selector = f"{MINE},version={predictor}"
        found = await self._kube.list(POD, namespace=subject.NAMESPACE, label_selector=selector)
        staying = [item for item in found.items if "deletionTimestamp" not in item["metadata"]]
        return sorted(staying, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))

    async def await_well(self, wanted: subject.Subject) -> None:
        """Until the controller says Available of this generation and every Pod of every predictor is ready."""

        async def is_well() -> bool:
            found = await self._kube.get(SELDON_DEPLOYMENT, subject.NAME, namespace=subject.NAMESPACE)
            status = found.get("status") or {}
            is_current = status.get("observedGeneration") == found["metadata"]["generation"]
            if not is_current or status.get("state") != "Available":
                return False
            return all([await self.has_ready(count, predictor) for predictor, count in wanted.counts.items()])

        counts = " and ".join(f"{count} Pods of {predictor}" for predictor, count in wanted.counts.items())
        await self.wait(is_well, what=f"{subject.NAMESPACE}/{subject.NAME} Available with {counts}")

    async def has_ready(self, replicas: int, predictor: str = subject.LIVE) -> bool:
        pods = await self.pods(predictor)
        return len(pods) == replicas and all(map(is_ready, pods))

    async def served_by(self, predictor: str) -> int:
        """Predictions that the present executors of a predictor have answered, as their metrics say.

        Raises:
            DrillError: one of them does not show its metrics.
        """
        total = 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            for pod in await self.pods(predictor):
                url = f"http://{pod['status']['podIP']}:{HTTP_PORT}/prometheus"
                try:
                    # Not aiohttp's `total`, which may lose a cancellation that comes with it.
                    async with asyncio.timeout(ANSWERS_WITHIN_S), session.get(url) as answer:
                        total += predictions_in(await answer.text())
                except (TimeoutError, aiohttp.ClientError) as exc:
                    raise DrillError(f"{url}: no metrics: {exc or type(exc).__name__}") from exc
        return total

    async def delete_pod(self, pod: Pod, *, grace_s: int | None) -> None:
        meta = pod["metadata"]
        await self._kube.delete(POD, meta["name"], namespace=subject.NAMESPACE, grace_period_s=grace_s, uid=meta["uid"])

    def signal_container(self, pod: Pod, container: str, number: signal.Signals) -> None:
        """To the container's process group; DrillError where it does not run."""
        key = f"{subject.NAMESPACE}/{pod['metadata']['name']}/{container}"
        identity = living_containers(self._paths).get(key)
        if identity is None:
            raise DrillError(f"{key} does not run: `kubectl describe pod -n {subject.NAMESPACE}` shows why")
        signal_group(identity, number)

    def kill_process(self, name: str) -> int:
        """-9 to one of the platform's own; the pid it had."""
        state = load_states(self._paths.run).get(name)
        if state is None or state.identity is None or not state.is_alive:
            raise DrillError(f"{name} does not run: `slipway status` shows what does")
        os.kill(state.identity.pid, signal.SIGKILL)
        return state.identity.pid

    def is_stable(self, name: str) -> bool:
        """Whether it has been ready for so long that its supervisor would start it again at once."""
        state = load_states(self._paths.run).get(name)
        return state is not None and state.phase is Phase.READY and time.time() - state.since >= STABLE_AFTER_S

    def is_back(self, name: str, pid: int) -> bool:
        """Whether another process than ``pid`` runs under that name and is ready."""
        state = load_states(self._paths.run).get(name)
        is_other = state is not None and state.identity is not None and state.identity.pid != pid
        return state is not None and is_other and state.is_alive and state.phase is Phase.READY

    async def stop_part(self, part: str) -> None:
        await _in_thread(self._stop_part, part)

    async def start_part(self, part: str) -> None:
        """One that runs stays as it is."""
        await _in_thread(self._start_part, part)

    def _stop_part(self, part: str) -> None:
        platform = self._platform()
        stop(platform, names_of(platform.specs, [part]), on_stopped=lambda _name, _took_s: None)

    def _start_part(self, part: str) -> None:
        platform = self._platform()
        await_ready(platform, request(platform, only=[part]), on_ready=lambda _state: None)

    def _platform(self) -> Platform:
        return Platform(self._paths, load_settings(self._paths.settings), ensure_secrets(self._paths.secrets))

    async def wait(self, predicate: Callable[[], Awaitable[bool]], *, what: str) -> float:
        """When it came true, on time.monotonic; DrillError where it does not."""
        deadline = time.monotonic() + WELL_WITHIN_S
        while not await predicate():
            if time.monotonic() > deadline:
                raise DrillError(f"{what}: not within {WELL_WITHIN_S:g} s; `slipway describe sdep` says why")
            await asyncio.sleep(POLL_S)
        return time.monotonic()


async def _in_thread(change: Callable[[str], None], part: str) -> None:
    try:
        await asyncio.to_thread(change, part)
    except (PlatformError, NotUpError) as exc:
        raise DrillError(f"{part}: {exc}") from exc


def predictions_in(exposition: str) -> int:
    """The sum over all series of the executor's count of predictions."""
    found = (line for line in exposition.splitlines() if line.startswith(SERVED) and 'service="predictions"' in line)
    return round(sum(float(line.rpartition(" ")[2]) for line in found))


def restarts(pod: Pod, container: str) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(int(item.get("restartCount", 0)) for item in statuses if item["name"] == container)
