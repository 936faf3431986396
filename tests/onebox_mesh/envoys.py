"""Real Envoys for tests: files written by the real publisher, in folders of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.bootstrap import envoy_argv
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.mesh.loop import site
from slipway.onebox.mesh.render import render
from slipway.onebox.mesh.translate import Objects, Site, translate
from slipway.onebox.mesh.write import Publisher, prepare
from slipway.onebox.paths import Paths
from tests.ports import free_gateway_port
from tests.waiting import eventually

START_S = 20.0


@dataclass
class Gateway:
    """Two running Envoys and the publisher that feeds them."""

    site: Site
    layout: Layout
    publisher: Publisher
    processes: list[asyncio.subprocess.Process]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.site.port}"

    @property
    def admins(self) -> list[Admin]:
        return [Admin(self.layout.admin_socket(index)) for index in ENVOYS]

    async def publish(self, objects: Objects) -> bool:
        return not await self.publisher.publish(render(translate(objects, self.site), self.layout))

    async def counter(self, name: str) -> int:
        return sum([await admin.counter(name) or 0 for admin in self.admins])


async def start_envoy(layout: Layout, index: int) -> asyncio.subprocess.Process:
    with (layout.paths.logs / f"envoy-{index}.log").open("a") as log:
        return await asyncio.create_subprocess_exec(*envoy_argv(index, layout.paths), stdout=log, stderr=log)


@asynccontextmanager
async def running_gateway(home: Path, objects: Objects) -> AsyncIterator[Gateway]:
    layout = Layout(Paths(home))
    prepare(layout)
    here = replace(site("127.0.0.1", free_gateway_port()), lowest_port=1024)
    gateway = Gateway(here, layout, Publisher(layout), [])
    assert await gateway.publish(objects)
    try:
        for index in ENVOYS:
            gateway.processes.append(await start_envoy(layout, index))
        for admin in gateway.admins:
            await eventually(admin.ready, timeout_s=START_S, what=f"{admin.socket.stem}")
        yield gateway
    finally:
        await _stop(gateway.processes)
        for index in ENVOYS:
            layout.admin_socket(index).unlink(missing_ok=True)
        layout.paths.sockets.rmdir()


async def _stop(processes: Sequence[asyncio.subprocess.Process]) -> None:
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()
