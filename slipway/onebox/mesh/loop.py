"""Follows the API and keeps Envoy's files equal to it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from importlib.resources import files
from pathlib import Path

from slipway.kube.client import Kube
from slipway.kube.kinds import DESTINATION_RULE, ENDPOINT_SLICE, GATEWAY, POD, SERVICE, VIRTUAL_SERVICE, Kind
from slipway.kube.reflector import Reflector
from slipway.onebox.mesh.findings import Findings, report
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.limits import ACCESS_LOG_CHECK_S, SETTLE_S, TICK_S
from slipway.onebox.mesh.render import render
from slipway.onebox.mesh.translate import Object, Objects, Site, translate
from slipway.onebox.mesh.write import Publisher, prepare
from slipway.onebox.paths import Paths

log = logging.getLogger(__name__)
KINDS = (VIRTUAL_SERVICE, DESTINATION_RULE, GATEWAY, SERVICE, ENDPOINT_SLICE, POD)
_LOWEST_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def site(address: str, port: int) -> Site:
    """What this machine adds to the API's objects."""
    lowest = 1 if os.geteuid() == 0 else int(_LOWEST_PORT.read_text())
    return Site(address, port, str(files("slipway.onebox.mesh") / "page" / "index.html"), lowest)


async def run(kube: Kube, paths: Paths, here: Site) -> None:
    """Until cancelled. The files of the last run are replaced only when the whole state has been read."""
    layout = Layout(paths)
    prepare(layout)
    publisher = Publisher(layout)
    async with Reflector(kube, KINDS) as reflector, asyncio.TaskGroup() as tasks:
        await reflector.wait_synced()
        tasks.create_task(_rotate(publisher))
        await _follow(reflector, kube, publisher, here=here, layout=layout)


async def _follow(reflector: Reflector, kube: Kube, publisher: Publisher, *, here: Site, layout: Layout) -> None:
    findings = Findings()
    changed = True
    while True:
        if changed:
            mesh = translate(_objects(reflector), here)
            findings.update(mesh.findings, time.monotonic())
            await publisher.publish(render(mesh, layout))
        await report(kube, findings.due(time.monotonic()))
        changed = await _changed(reflector)


async def _changed(reflector: Reflector) -> bool:
    """Whether anything changed within a tick; then a moment more, so that one apply is one change."""
    try:
        await asyncio.wait_for(reflector.changed(), TICK_S)
    except TimeoutError:
        return False
    await asyncio.sleep(SETTLE_S)
    return True


def _objects(reflector: Reflector) -> Objects:
    def all_of(kind: Kind) -> tuple[Object, ...]:
        return tuple(reflector.objects(kind).values())

    return Objects(
        virtual_services=all_of(VIRTUAL_SERVICE),
        destination_rules=all_of(DESTINATION_RULE),
        gateways=all_of(GATEWAY),
        services=all_of(SERVICE),
        endpoint_slices=all_of(ENDPOINT_SLICE),
        pods=all_of(POD),
    )


async def _rotate(publisher: Publisher) -> None:
    while True:
        await publisher.rotate_access_logs()
        await asyncio.sleep(ACCESS_LOG_CHECK_S)
