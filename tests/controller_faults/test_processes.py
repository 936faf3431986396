"""Two real controllers, each through a proxy of its own: one leads, and a leader that was stopped does not write on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import yaml

from slipway.controller.meta import MANAGER
from slipway.kube.kinds import LEASE
from tests.contract.manifests import predictor, sdep
from tests.controller_faults.conftest import Rig, make_rig
from tests.controller_faults.proxy import Proxy, Request
from tests.controller_faults.world import SYSTEM
from tests.onebox_api.conftest import TOKEN, ApiProcess
from tests.ports import free_ports
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
TIMES = "3,2,0.3"
LEASE_S = 3.0
WAIT_S = 60.0


@dataclass
class Controller:
    """A process and what it asks."""

    proxy: Proxy
    arguments: list[str]
    port: int
    process: Process | None = None
    ended: list[int] = field(default_factory=list)

    async def start(self) -> None:
        command = [sys.executable, "-m", "slipway.controller", *self.arguments]
        self.process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)

    async def ready(self) -> bool:
        return await self._get("readyz") is not None

    async def leads(self) -> bool:
        text = await self._get("metrics") or ""
        return f'leader_election_master_status{{name="{MANAGER}"}} 1.0' in text

    async def _get(self, path: str) -> str | None:
        timeout = aiohttp.ClientTimeout(total=2)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"http://127.0.0.1:{self.port}/{path}") as answer,
            ):
                return await answer.text() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.send(number)
        return await self.process.wait()

    def changes(self) -> list[Request]:
        """Writes of its work: those about the lease are not."""
        return [request for request in self.proxy.writes() if "/leases" not in request.path]


@pytest.fixture
async def rig(api: ApiProcess) -> AsyncIterator[Rig]:
    async with make_rig(api) as rig:
        yield rig


@pytest.fixture
async def pair(rig: Rig, tmp_path: Path) -> AsyncIterator[list[Controller]]:
    made = []
    async with contextlib.AsyncExitStack() as stack:
        for number, port in enumerate(free_ports(2)):
            proxy = await stack.enter_async_context(Proxy(rig.access.server).serving())
            config = {
                "clusters": [{"name": "c", "cluster": {"server": proxy.url}}],
                "users": [{"name": "u", "user": {"token": TOKEN}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
            path = tmp_path / f"kubeconfig-{number}"
            path.write_text(yaml.safe_dump(config))
            words = ["--kubeconfig", str(path), "--namespace", rig.world.namespace, "--health-port", str(port)]
            elect = ["--leader-elect", "--leader-election-namespace", SYSTEM, "--leader-election-seconds", TIMES]
            made.append(Controller(proxy, [*words, *elect], port))
        for one in made:
            await one.start()
        try:
            yield made
        finally:
            for one in made:
                await one.end()


async def leader_of(pair: list[Controller]) -> tuple[Controller, Controller]:
    """(who leads, who does not)."""

    async def one() -> Controller | None:
        leading = [controller for controller in pair if await controller.leads()]
        assert len(leading) <= 1
        return leading[0] if leading else None

    first = await eventually(one, timeout_s=WAIT_S, what="a leader")
    return first, next(controller for controller in pair if controller is not first)


def plain(replicas: int) -> dict[str, object]:
    """No registry is there: a graph without a model."""
    return {**sdep(predictor(replicas=replicas)), "metadata": {"name": "plain"}}


async def test_stopped_leader_writes_nothing_when_it_goes_on_and_the_next_one_follows(
    rig: Rig, pair: list[Controller]
) -> None:
    first, second = await leader_of(pair)
    await eventually(second.ready, timeout_s=WAIT_S, what="the other one is ready, too")
    await rig.world.apply(plain(1))
    await rig.world.until({"plain": "Available"})
    assert second.changes() == []
    first.send(signal.SIGSTOP)
    await rig.world.apply(plain(2))  # it has this in its socket, to be read when it goes on
    await eventually(second.leads, timeout_s=WAIT_S, what="the next leader")
    await rig.world.until({"plain": "Available"})
    before = len(first.changes())
    first.send(signal.SIGCONT)
    await eventually(first.ready, timeout_s=WAIT_S, what="the first one goes on")
    await rig.world.apply(plain(3))
    await rig.world.until({"plain": "Available"})
    assert not await first.leads()
    assert len(first.changes()) == before, "it may not, and nobody needs it"
    assert second.changes()


async def test_killed_leader_is_followed_after_its_lease_and_one_that_ends_in_order_at_once(
    rig: Rig, pair: list[Controller]
) -> None:
    first, second = await leader_of(pair)
    await eventually(second.ready, timeout_s=WAIT_S, what="the other one is ready, too")
    await first.end(signal.SIGKILL)
    await eventually(second.leads, timeout_s=WAIT_S, what="the next leader")
    lease = (await rig.world.kube.get(LEASE, MANAGER, namespace=SYSTEM))["spec"]
    assert lease["leaseDurationSeconds"] == LEASE_S
    assert await second.end(signal.SIGTERM) == 0
    lease = (await rig.world.kube.get(LEASE, MANAGER, namespace=SYSTEM))["spec"]
    assert lease["holderIdentity"] == "", "given back"
