"""Several workers and their supervisor: they share the ports, and one follows the other without a lost request."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slipway.microservice.supervisor import Keeper, pause_after
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.server import bound_socket
from tests.microservice.process import ECHO, LOADED, ask, metrics_address
from tests.waiting import eventually, wait_until


def test_workers_share_the_port_and_join_their_metrics(start_process):
    process = start_process(ECHO, "--workers", "2", "--drain", "0")
    rest, _, _ = process.ready(2)
    pids = {json.loads(ask(rest, "/predict", {"strData": "x"})[1])["jsonData"]["pid"] for _ in range(40)}
    assert len(pids) == 2
    metrics = metrics_address(process)
    text = ask(metrics, "/metrics")[1].decode()
    assert text.count("# TYPE calls_total counter") == 1
    assert {line.rpartition('worker_id="')[2][0] for line in text.splitlines() if line.startswith("calls_total{")} == {
        "0",
        "1",
    }
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists()


def test_workers_end_when_their_supervisor_is_killed(start_process):
    process = start_process(ECHO, "--workers", "2", "--drain", "0")
    rest, _, _ = process.ready(2)
    pid = json.loads(ask(rest, "/predict", {"strData": "x"})[1])["jsonData"]["pid"]
    process.send(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the worker's end")


SLOW_LOAD = ECHO + "    def load(self):\n        import time\n        time.sleep(0.3)\n"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_max_requests_replaces_workers_without_losing_requests(start_process, workers: str):
    process = start_process(SLOW_LOAD, "--max-requests", "5", "--drain", "0", "--workers", workers)
    rest = process.ready(int(workers))[0]
    pids: set[int] = set()

    def asked_until_replaced(count: int) -> bool:
        status, body = ask(rest, "/predict", {"strData": "x"})
        assert status == 200
        pids.add(json.loads(body)["jsonData"]["pid"])
        return len(pids) >= count

    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(wait_until, lambda: asked_until_replaced(6), timeout_s=40) for _ in range(4)]
        assert all(one.result() for one in asking)
    samples = [line for line in ask(metrics_address(process), "/metrics")[1].decode().splitlines() if line[0] != "#"]
    names = [line.rpartition(" ")[0] for line in samples]
    assert len(names) == len(set(names))
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), what="the workers' end")


UNLESS = ECHO + "    def load(self):\n        assert not os.path.exists('broken'), 'the weights are broken'\n"


def test_worker_that_served_once_is_started_again_and_one_that_did_not_ends_the_whole(start_process, tmp_path: Path):
    process = start_process(UNLESS, "--workers", "2", "--drain", "0")
    rest = process.ready(2)[0]
    pid = json.loads(ask(rest, "/predict", {"strData": "x"})[1])["jsonData"]["pid"]
    os.kill(pid, signal.SIGKILL)
    process.ready(3)
    (tmp_path / "broken").touch()
    os.kill(json.loads(ask(rest, "/predict", {"strData": "x"})[1])["jsonData"]["pid"], signal.SIGKILL)
    assert process.wait() == 1
    assert "Mod.load() failed: AssertionError: the weights are broken" in process.text()


HELD = (
    ECHO
    + """
    def load(self):
        import pathlib, time
        while os.path.exists("hold"):
            pathlib.Path("held").touch()
            time.sleep(0.05)
"""
)
NUMBERED = HELD.replace("os.getpid()}", 'os.getpid(), "worker": os.environ["SLIPWAY_WORKER"]}')


def test_while_a_worker_that_was_killed_loads_again_the_other_one_answers_all(start_process, tmp_path: Path):
    process = start_process(HELD, "--workers", "2", "--drain", "0")
    rest = process.ready(2)[0]
    (tmp_path / "hold").touch()
    os.kill(json.loads(ask(rest, "/predict", {"strData": "x"})[1])["jsonData"]["pid"], signal.SIGKILL)
    wait_until(lambda: " ended with " in process.text(), timeout_s=20, what="the worker's end is noticed")
    assert [ask(rest, "/predict", {"strData": "x"})[0] for _ in range(20)] == [200] * 20
    (tmp_path / "hold").unlink()
    process.ready(3)


def test_worker_that_dies_while_its_successor_loads_keeps_nobody_waiting(start_process, tmp_path: Path):
    process = start_process(NUMBERED, "--workers", "2", "--drain", "0")
    rest = process.ready(2)[0]
    (tmp_path / "hold").touch()
    process.send(signal.SIGHUP)
    wait_until((tmp_path / "held").exists, timeout_s=20, what="the first worker's successor loads")
    pids = {told["worker"]: told["pid"] for told in (_told(rest) for _ in range(40))}
    os.kill(pids["0"], signal.SIGKILL)
    wait_until(lambda: " while its successor loads" in process.text(), timeout_s=20, what="the worker's end is noticed")
    assert {_told(rest)["worker"] for _ in range(20)} == {"1"}
    (tmp_path / "hold").unlink()
    wait_until(lambda: _told(rest)["worker"] == "0", timeout_s=20, what="the successor answers")


def _told(rest: str) -> dict[str, Any]:
    status, body = ask(rest, "/predict", {"strData": "x"})
    assert status == 200
    return dict(json.loads(body)["jsonData"])


LISTENS_EARLY = """
import os, pathlib, socket, sys, time
folder, start = pathlib.Path(sys.argv[1]), os.environ["SLIPWAY_WORKER_METRICS"].split(".")[-2]
socket.socket(fileno=int(os.environ["SLIPWAY_WORKER_LISTENER"])).listen()
(folder / f"listens.{start}").touch()
while start == "2" and not (folder / "go").exists():
    time.sleep(0.01)
os.write(0, b"s")
while os.read(0, 1):
    pass
"""


async def test_successor_that_listened_in_the_moment_in_which_the_other_died_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    lifecycle, command = Lifecycle(), [sys.executable, "-c", LISTENS_EARLY, str(tmp_path)]
    with bound_socket("127.0.0.1", 0, reuse_port=True) as shared:
        port = shared.getsockname()[1]
        keeper = Keeper(command, 0, tmp_path, lifecycle, lambda: bound_socket("127.0.0.1", port, reuse_port=True))
        keeping = asyncio.create_task(keeper.keep())
        await eventually((tmp_path / "listens.1").exists)
        renewing = asyncio.create_task(keeper.renew())
        await eventually((tmp_path / "listens.2").exists)
        (first,) = (int(child) for child in _children() if b"0.1.sock" in _environment(child))
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: " while its successor loads" in caplog.text)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        (tmp_path / "go").touch()
        await eventually((tmp_path / "listens.3").exists)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await asyncio.wait_for(renewing, 5)
        lifecycle.stop_asked.set()
        assert await asyncio.wait_for(keeping, 10) == 0


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def _environment(pid: str) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def test_worker_that_leaves_before_it_served_is_started_again_after_longer_and_longer_pauses(
    start_process, tmp_path: Path
):
    (tmp_path / "leave").touch()
    leaves = ECHO + "    def load(self):\n        if os.path.exists('leave'):\n            os._exit(0)\n"
    process = start_process(leaves, "--max-requests", "9", "--drain", "0")
    wait_until(lambda: "another one starts in 1 s" in process.text(), timeout_s=30, what="the second pause")
    assert process.text().count("ended with 0 before it served: another one starts in 0.5 s") == 1
    (tmp_path / "leave").unlink()
    assert _told(process.ready()[0])["pid"]


def test_stop_ends_the_pause_before_another_worker(start_process):
    process = start_process(
        "import os\nclass Mod:\n    def load(self):\n        os._exit(0)\n", "--max-requests", "9", "--drain", "0"
    )
    wait_until(lambda: "another one starts in 4 s" in process.text(), timeout_s=30, what="a long pause")
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    assert "another one starts in 8 s" not in process.text()


@pytest.mark.parametrize(("unserved", "pause_s"), [(1, 0.5), (2, 1), (5, 8), (6, 10), (10**9, 10)])
def test_pauses_before_another_worker_double_up_to_a_bound(unserved: int, pause_s: float):
    assert pause_after(unserved) == pause_s


def test_worker_whose_successor_cannot_be_loaded_stays(start_process, tmp_path: Path):
    process = start_process(UNLESS, "--max-requests", "2", "--drain", "0")
    rest = process.ready()[0]
    (tmp_path / "broken").touch()
    pid = json.loads(ask(rest, "/predict", {"strData": "x"})[1])["jsonData"]["pid"]
    ask(rest, "/predict", {"strData": "x"})
    wait_until(lambda: "it stays" in process.text(), timeout_s=30, what="the successor's end")
    assert json.loads(ask(rest, "/predict", {"strData": "x"})[1])["jsonData"]["pid"] == pid
    (tmp_path / "broken").unlink()
    ask(rest, "/predict", {"strData": "x"})
    process.ready(2)


def test_a_worker_that_cannot_start_ends_the_whole(start_process):
    process = start_process("class Mod:\n    def load(self):\n        raise OSError('no')\n", "--workers", "2")
    assert process.wait() == 1
    assert "Mod.load() failed: OSError: no" in process.text()


@pytest.mark.parametrize("flags", [("--workers", "2"), ("--max-requests", "1000000", "--inline")])
def test_hangup_gives_workers_successors_and_no_request_is_lost(start_process, tmp_path: Path, flags: tuple[str, ...]):
    process = start_process(LOADED, *flags, "--drain", "0.3")
    count = 2 if "--workers" in flags else 1
    rest, _, _ = process.ready(count)
    process.send(signal.SIGHUP)

    def answered_and_all_restarted() -> bool:
        assert ask(rest, "/predict", {"strData": "x"})[0] == 200
        return (tmp_path / "loads").read_text() == "load " * 2 * count

    wait_until(answered_and_all_restarted, timeout_s=40, what="the workers' successors")
    process.send(signal.SIGTERM)
    assert process.wait() == 0
