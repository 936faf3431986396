"""A component waits for the executor of its Pod, and for nobody else."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from uuid import uuid4

import pytest

from slipway.serving import limits
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.lifeline import executor_ended, lifeline, line_name
from tests.data import REPOSITORY
from tests.waiting import eventually

ALONE_S = 0.05
"""Long enough to hear an executor that has begun to end before."""
EXECUTOR = """
import asyncio, sys
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.lifeline import lifeline
async def main():
    lifecycle = Lifecycle()
    lifecycle.stop_asked.set()
    async with lifeline(lifecycle, pod_ip=sys.argv[1]):
        print("here", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
def pod_ip() -> str:
    """Not an address: whatever no other test's Pod has."""
    return uuid4().hex


def waiting(pod_ip: str, *, notice_s: float = limits.MAX_OUTLIVED_S) -> asyncio.Task[None]:
    return asyncio.create_task(executor_ended(pod_ip=pod_ip, notice_s=notice_s))


async def test_component_waits_until_its_executor_has_ended(pod_ip: str) -> None:
    lifecycle = Lifecycle()
    async with lifeline(lifecycle, pod_ip=pod_ip):
        early = waiting(pod_ip)
        await asyncio.wait({early}, timeout=ALONE_S)
        lifecycle.stop_asked.set()
        late = waiting(pod_ip, notice_s=5)
        done, _ = await asyncio.wait({early, late}, timeout=ALONE_S)
        assert not done
    await asyncio.wait_for(asyncio.gather(early, late), 5)


async def test_component_that_ends_alone_does_not_wait(pod_ip: str) -> None:
    async with lifeline(Lifecycle(), pod_ip=pod_ip):
        await asyncio.wait_for(executor_ended(pod_ip=pod_ip, notice_s=ALONE_S), 5)
        await asyncio.wait_for(executor_ended(pod_ip=pod_ip, notice_s=0), 5)


async def test_nobody_is_waited_for_where_there_is_no_executor(pod_ip: str) -> None:
    await asyncio.wait_for(executor_ended(pod_ip=pod_ip, notice_s=limits.MAX_OUTLIVED_S), 5)


async def test_executors_of_other_pods_are_not_waited_for(pod_ip: str) -> None:
    lifecycle = Lifecycle()
    lifecycle.stop_asked.set()
    async with lifeline(lifecycle, pod_ip=f"{pod_ip}0"):
        await asyncio.wait_for(executor_ended(pod_ip=pod_ip, notice_s=limits.MAX_OUTLIVED_S), 5)


async def test_killed_executor_is_not_waited_for_any_longer(pod_ip: str) -> None:
    argv = [sys.executable, "-c", EXECUTOR, pod_ip]
    executor = await asyncio.create_subprocess_exec(
        *argv, cwd=REPOSITORY, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE
    )
    try:
        assert executor.stdout is not None
        assert await executor.stdout.readline() == b"here\n"
        component = waiting(pod_ip)
        done, _ = await asyncio.wait({component}, timeout=ALONE_S)
        assert not done
    finally:
        executor.kill()
        await executor.wait()
    await asyncio.wait_for(component, 5)


async def test_executor_that_never_ends_is_given_up(pod_ip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_OUTLIVED_S", ALONE_S)
    lifecycle = Lifecycle()
    lifecycle.stop_asked.set()
    async with lifeline(lifecycle, pod_ip=pod_ip):
        await asyncio.wait_for(executor_ended(pod_ip=pod_ip, notice_s=5), 5)


async def test_second_executor_of_a_namespace_serves_without_a_line(
    pod_ip: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lifecycle = Lifecycle()
    async with lifeline(lifecycle, pod_ip=pod_ip):
        async with lifeline(Lifecycle(), pod_ip=pod_ip):
            assert "another's is here" in caplog.text
        lifecycle.stop_asked.set()
        component = waiting(pod_ip)
        done, _ = await asyncio.wait({component}, timeout=ALONE_S)
        assert not done
    await asyncio.wait_for(component, 5)


async def test_line_holds_no_more_than_its_bound_and_takes_no_words(
    pod_ip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_HOLDERS", 1)

    async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        line = socket.socket(socket.AF_UNIX)
        line.setblocking(False)
        line.connect(line_name(pod_ip))
        return await asyncio.open_unix_connection(sock=line)

    async with lifeline(Lifecycle(), pod_ip=pod_ip):
        _, talker = await connected()
        refused, writer = await connected()
        assert await asyncio.wait_for(refused.read(), 5) == b""
        writer.close()
        talker.write(b"x")  # its place is free for the next one

        async def has_place() -> bool:
            reader, writer = await connected()
            try:
                async with asyncio.timeout(ALONE_S):
                    return bool(await reader.read())
            except TimeoutError:
                return True
            finally:
                writer.close()

        await eventually(has_place)
        talker.close()
