"""The activator is killed while it holds requests: what may be tried again is, once it is back; nothing else is repeated."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.kube.kinds import SERVICE
from slipway.kube.kubeconfig import Access
from slipway.onebox.paths import Paths
from tests.onebox_activator.town import METADATA, NAME, Town, running_town
from tests.onebox_mesh.world import GATEWAY, destination, item
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
ONCE = "/once"
"""A path whose route is never retried, as one for feedback."""
ROUTE = {
    "match": [{"uri": {"exact": ONCE}}],
    "rewrite": {"uri": "/api/v1.0/feedback"},
    "retries": {"attempts": 0},
    "route": [{"destination": destination("stable", 8000)}],
}
NEVER_RETRIED = item("VirtualService", "once", {"hosts": ["*"], "gateways": [GATEWAY], "http": [ROUTE]})
SIZES = (2, 100_000, MAX_BODY_BYTES)
START_S = 30.0


@dataclass
class Killable:
    """The activator as a process of the home, as ``slipway up`` starts it."""

    argv: tuple[str, ...]
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("a") as log:
            self.process = await asyncio.create_subprocess_exec(*self.argv, stdout=log, stderr=log)

    async def end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            await self.process.wait()
            self.process = None


@asynccontextmanager
async def killable(access: Access, home: Path) -> AsyncIterator[Killable]:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": access.server}}],
        "users": [{"name": "u", "user": {"token": access.token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = Paths(home).kubeconfig
    path.write_text(yaml.safe_dump(config))
    argv = (sys.executable, "-m", "slipway.onebox.activator", "--home", str(home), "--kubeconfig", str(path))
    activator = Killable(argv, home / "activator.log")
    try:
        yield activator
    finally:
        await activator.end(signal.SIGTERM)


async def _held(town: Town, count: int) -> None:
    """So many requests are under way from the gateways to the activator."""

    async def are_there() -> bool:
        active = [await town.gateway.counter(f"activator.{kind}.upstream_rq_active") for kind in ("http", "grpc")]
        return sum(active) == count

    await eventually(are_there, timeout_s=START_S, what=f"{count} at the activator")


async def test_requests_that_a_killed_activator_held_are_answered_and_no_other_is_repeated(tmp_path: Path) -> None:
    async with (
        running_town(tmp_path, holds=False, older=[NEVER_RETRIED]) as town,
        killable(town.kube.access, tmp_path) as activator,
    ):
        await activator.start()
        posts = [asyncio.create_task(town.post(b"x" * size)) for size in SIZES]
        calls = [town.stub.Predict(pb.SeldonMessage(binData=b"x" * size), metadata=METADATA) for size in SIZES[:2]]
        service = asyncio.create_task(_ask_service(town))
        once = asyncio.create_task(town.post(path=ONCE))
        await town.until_woken()
        await _held(town, len(posts) + len(calls) + 2)
        await activator.end(signal.SIGKILL)
        status, body, _ = await once
        assert (status, body["status"]["reason"]) == (503, "UPSTREAM_UNREACHABLE")
        assert await service == 503, "nobody has said that it may be repeated"
        late = asyncio.create_task(town.post(path=ONCE))
        await activator.start()
        await _held(town, len(posts) + len(calls) + 1)
        assert not town.upstreams.of("stable")[0].seen
        await town.set_ready("stable", is_ready=True)
        replies = await asyncio.gather(*posts, late)
        messages = [await call for call in calls]
        seen = [path for path, _, _ in town.upstreams.of("stable")[0].seen]
        fields = [name for _, _, given in town.upstreams.of("stable")[0].seen for name in given]
    assert [status for status, _, _ in replies] == [200] * (len(SIZES) + 1)
    assert [body["jsonData"]["bytes"] for _, body, _ in replies] == [*SIZES, 2]
    assert [message.strData for message in messages] == ["stable"] * 2
    assert sum("feedback" in path for path in seen) == 1
    assert len(seen) == len(replies)
    assert not [name for name in fields if name in ("x-slipway-wakes", "x-slipway-repeatable")]


async def _ask_service(town: Town) -> int:
    """As another Pod does, at the Service's own address."""
    found = await town.kube.get(SERVICE, NAME, namespace="default")
    async with town.client.post(f"http://{found['spec']['clusterIP']}:8000/predict", data=b"{}") as reply:
        return reply.status
