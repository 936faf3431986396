"""Envoys that run and say nothing: busy for a moment, or stuck."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from slipway.onebox.mesh.layout import ENVOYS
from slipway.onebox.mesh.limits import ADMIN_TIMEOUT_S
from slipway.onebox.mesh.render import render
from slipway.onebox.mesh.steps import ROUTES_STAT
from slipway.onebox.mesh.translate import translate
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import virtual_service, world
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
SAYS_NOTHING = "says nothing"


@asynccontextmanager
async def _running(tmp_path):
    async with running_upstreams(stable=1) as upstreams:
        objects = world([virtual_service({"stable": 0})], upstreams.predictors(), ports=upstreams.ports)
        async with running_gateway(tmp_path, objects) as gateway:
            try:
                yield gateway, objects
            finally:
                _send(gateway, signal.SIGCONT)


def _send(gateway, number):
    for process in gateway.processes:
        process.send_signal(number)


def _broken(gateway, objects):
    wanted = render(translate(objects, gateway.site), gateway.layout)
    return replace(wanted, routes={**wanted.routes, "virtual_hosts": [{"name": "no domains"}]})


async def test_envoys_that_were_busy_for_a_moment_are_asked_again(tmp_path, caplog):
    async with _running(tmp_path) as (gateway, objects):
        _send(gateway, signal.SIGSTOP)
        publication = asyncio.create_task(gateway.publisher.publish(_broken(gateway, objects)))
        asyncio.get_running_loop().call_later(1.4 * ADMIN_TIMEOUT_S, _send, gateway, signal.SIGCONT)
        assert await publication == {ROUTES_STAT}
    assert SAYS_NOTHING not in caplog.text


async def test_nobody_waits_twice_for_envoys_that_are_stuck(tmp_path, caplog):
    async with _running(tmp_path) as (gateway, objects):
        _send(gateway, signal.SIGSTOP)
        broken = _broken(gateway, objects)
        assert not await gateway.publisher.publish(broken)
        assert await gateway.publish(objects)
        assert not await gateway.publisher.publish(broken)
        assert not await gateway.publisher.missing()
        assert caplog.text.count(SAYS_NOTHING) == len(ENVOYS)
        _send(gateway, signal.SIGCONT)

        async def is_told():
            return await gateway.publisher.missing() == {ROUTES_STAT}

        await eventually(is_told, timeout_s=20, what="an answer of Envoys that go on")
