"""Connections of a client: closed, forgotten, in threads, other loops and forked processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from slipway.client import Client
from slipway.client.bridge import run
from tests.client.servers import PHOTO, Deployment
from tests.data import REPOSITORY


async def test_closed_client_connects_anew(yolo: Deployment) -> None:
    client = yolo.client()
    await client.detect(PHOTO)
    await client.close()
    await client.close()
    assert len(await client.detect(PHOTO)) == 1
    await client.close()


async def test_blocking_client_works_where_a_loop_runs_already(yolo: Deployment) -> None:
    def ask() -> Any:
        with Client(yolo.url, transport=yolo.transport) as client:  # type: ignore[typeddict-item]
            found = client.detect(PHOTO)
            assert len(client.detect_many([PHOTO] * 5)) == 5
            assert client.predict({"strData": "x"}).message["jsonData"]["model"]["name"] == "pets"
            client.feedback(1.0, reply=found)
            return found

    asking = asyncio.to_thread(ask)  # this thread's loop serves
    assert (await asking)[0].label == "cat"
    assert yolo.calls == 8


async def test_blocking_client_is_shared_by_threads(yolo: Deployment) -> None:
    client = Client(yolo.url, transport=yolo.transport)  # type: ignore[typeddict-item]
    asked = [asyncio.to_thread(client.detect, PHOTO) for _ in range(16)]
    assert [len(one) for one in await asyncio.gather(*asked)] == [1] * 16
    await asyncio.to_thread(client.close)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("slipway-client") == 1


def test_blocking_call_inside_its_own_thread_says_what_to_do() -> None:
    async def inside() -> None:
        Client("http://127.0.0.1:9").close()

    with pytest.raises(RuntimeError, match="use AsyncClient"):
        run(inside())


def test_interrupt_cancels_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.Future.result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(wait())
    monkeypatch.undo()
    assert ended.wait(5)


FORKED = """
import os, sys
from slipway.client import Client
client = Client(sys.argv[1], transport=sys.argv[2], timeout_s=10)
client.detect(b"photo")
if (child := os.fork()) == 0:
    try:
        print(len(client.detect(b"photo")), flush=True)
        client.close()
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(len(client.detect(b"photo")))
"""


async def test_process_that_forks_shares_no_connection(yolo: Deployment) -> None:
    """As PyTorch's loaders do. The child's end must not take the parent's connections along."""
    argv = [sys.executable, "-c", FORKED, yolo.url, yolo.transport]
    done = await asyncio.to_thread(
        subprocess.run, argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False
    )
    child, parent = done.stdout.splitlines()
    assert parent == "1", done.stderr
    assert "gRPC does not outlive a fork" in child if yolo.transport == "grpc" else child == "1"


async def test_client_of_another_event_loop_says_so(yolo: Deployment) -> None:
    client = yolo.client()
    await client.detect(PHOTO)
    with pytest.raises(RuntimeError, match="connections of another event loop"):
        await asyncio.to_thread(asyncio.run, client.detect(PHOTO))
    await client.close()


FORGETFUL = """
import sys
from slipway.client import Client
client = Client(sys.argv[1], transport=sys.argv[2])
print(client.detect(b"photo"))
"""


async def test_forgotten_client_ends_quietly(yolo: Deployment, tmp_path: Path) -> None:
    argv = [sys.executable, "-W", "error", "-c", FORGETFUL, yolo.url, yolo.transport]
    done = await asyncio.to_thread(
        subprocess.run, argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 cat (pets/3")
