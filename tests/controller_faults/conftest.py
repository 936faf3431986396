"""A real API process, a proxy in front of it, the controller's loop behind that, and a registry."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from slipway.controller import queue, reconcile
from slipway.controller.keep import keep
from slipway.controller.settings import Settings
from slipway.kube import reflector
from slipway.kube.client import Kube
from slipway.kube.conduct import REQUEST_TIMEOUT_S, Conduct
from slipway.kube.kubeconfig import Access
from slipway.registry import RegistryAddress
from tests.controller.conftest import Registry
from tests.controller_faults.proxy import Plan, Proxy
from tests.controller_faults.world import Runner, World
from tests.onebox_api.conftest import TOKEN, ApiProcess, running_api

HANGING_TIMEOUT_S = 1.5
"""The controller's, for one answer, where a plan hangs: that must not take half a minute. Elsewhere it has its own."""
ENDS_S = 30.0
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with running_api(tmp_path_factory.mktemp("faults") / "home") as process:
        yield process


@dataclass
class Rig:
    """A world and what looks after it."""

    world: World
    proxy: Proxy
    registry: RegistryAddress
    access: Access
    settings: Settings = field(default_factory=Settings)
    _running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """The controller, through the proxy."""
        self._running = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        hangs = any(plan.act in ("hang", "hang-after") for plan in self.proxy.plans)
        conduct = Conduct(timeout_s=HANGING_TIMEOUT_S if hangs else REQUEST_TIMEOUT_S)
        async with Kube(replace(self.access, server=self.proxy.url), user_agent="it", conduct=conduct) as kube:
            await keep(kube, self.settings, self.registry, asyncio.Event())

    async def kill(self) -> None:
        """At once, whatever it is doing; a crash of it before shows here."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()  # once: a controller that does not hear of it is one that cannot be stopped
            await ended(running, "controller")

    @property
    def is_running(self) -> bool:
        return self._running is not None and not self._running.done()


async def ended(task: asyncio.Task[None], what: str) -> None:
    """After it was cancelled; a crash of it before shows here."""
    await asyncio.wait({task}, timeout=ENDS_S)
    assert task.done(), f"the {what} goes on after it was cancelled"
    if not task.cancelled():
        task.result()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    make_hasty(monkeypatch)


def make_hasty(patch: pytest.MonkeyPatch) -> None:
    """Pauses of seconds are for servers; here a run has to end."""
    patch.setattr(queue, "FIRST_RETRY_S", 0.05)
    patch.setattr(queue, "MAX_RETRY_S", 0.5)
    patch.setattr(reconcile, "LOOK_AGAIN_S", 1.0)
    patch.setattr(reflector, "BACKOFF_MAX_S", 0.5)


@contextlib.asynccontextmanager
async def make_rig(api: ApiProcess, plans: tuple[Plan, ...] = ()) -> AsyncIterator[Rig]:
    """In a namespace of its own, with a runner; the controller is not started yet."""
    access = Access(f"http://{api.address}", token=TOKEN)
    mlflow = web.Application()
    mlflow.router.add_route("*", "/api/2.0/mlflow/{tail:.*}", Registry().answer)
    proxy = Proxy(access.server, plans)
    namespace = f"team-{next(NUMBERS)}"
    async with TestServer(mlflow) as registry, Kube(access) as kube, proxy.serving():
        world = World(kube, namespace)
        await world.begin()
        address = RegistryAddress(str(registry.make_url("/")).rstrip("/"))
        rig = Rig(world, proxy, address, access, Settings(namespace=namespace, follow_interval_s=0.5))
        runner = asyncio.create_task(Runner(kube, namespace).run())
        try:
            yield rig
        finally:
            await rig.kill()
            runner.cancel()
            await ended(runner, "runner")
