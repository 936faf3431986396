"""Pods that are ended sooner than planned, and disks that are full: as real processes of a real tiny image."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.kube.errors import Unavailable
from slipway.kube.kinds import Kind
from slipway.onebox.runner import logs
from slipway.onebox.runner.kubelet import Kubelet
from slipway.onebox.runner.logs import LogFile, Output
from slipway.onebox.runner.marks import container_mark, has_mark
from slipway.onebox.runner.moments import time_text
from slipway.onebox.runner.probes import run_check
from slipway.onebox.runner.scheduler import Scheduler
from slipway.onebox.runner.spec import Check, InvalidPod, parse_pod
from slipway.onebox.runner.state import PodState, StateFile, read_state
from tests.onebox_runner.conftest import IMAGE, Pods
from tests.onebox_runner.objects import NOW, pod_object
from tests.onebox_runner.test_pods import DEAF, is_alive, pids, ready
from tests.waiting import eventually

LONG_S = 300


def deaf(grace_s: int = LONG_S, **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": IMAGE, "command": ["python", "-c", DEAF], **container}
    return pod_object(spec={"containers": [main], "terminationGracePeriodSeconds": grace_s})


def deleted(obj: dict[str, Any], grace_s: int) -> dict[str, Any]:
    marks = {"deletionTimestamp": time_text(NOW), "deletionGracePeriodSeconds": grace_s}
    return {**obj, "metadata": {**obj["metadata"], **marks}}


async def test_a_second_delete_with_a_shorter_grace_period_ends_the_pod_sooner(pods: Pods) -> None:
    obj = deaf()
    worker = pods.start(obj=obj)
    await pods.until(lambda: pods.log(worker) == ["deaf"])
    (pid,) = pids(pods)
    worker.update(deleted(obj, LONG_S))
    await pods.until(lambda: "Killing" in pods.kube.reasons())
    worker.update(deleted(obj, 1))
    await pods.until(lambda: not is_alive(pid), timeout_s=20)


async def test_a_config_map_that_goes_before_its_pod_is_no_warning(pods: Pods) -> None:
    pods.sources["config_maps"][("default", "graph")] = {"data": {"predictor.json": "old"}}
    obj = deaf(grace_s=1, volumeMounts=[{"name": "graph", "mountPath": "/etc/graph"}])
    obj["spec"]["volumes"] = [{"name": "graph", "configMap": {"name": "graph"}}]
    worker = pods.start(obj=obj)
    await pods.until(lambda: pods.log(worker) == ["deaf"])
    del pods.sources["config_maps"][("default", "graph")]
    worker.refresh_volumes()
    assert (worker.folder / "volumes" / "graph" / "predictor.json").read_text() == "old"
    pods.sources["config_maps"][("default", "graph")] = {"data": {"predictor.json": "late"}}
    worker.update(deleted(obj, 1))
    assert (worker.folder / "volumes" / "graph" / "predictor.json").read_text() == "old"
    await pods.until(lambda: "Killing" in pods.kube.reasons())
    assert "FailedMount" not in pods.kube.reasons()


async def test_a_pod_that_is_gone_from_the_api_is_killed_at_once(pods: Pods) -> None:
    """``kubectl delete --force --grace-period=0``, also after a delete that would have waited."""
    kubelet = Kubelet(pods.machine, Scheduler(pods.machine.kube, pods.machine.events, lambda: None))
    obj = deaf()
    key = ("default", "p")
    kubelet.reconcile({key: obj})
    await pods.until(lambda: "running" in pods.state())
    (pid,) = pids(pods)
    kubelet.reconcile({key: deleted(obj, LONG_S)})
    await pods.until(lambda: "Killing" in pods.kube.reasons())
    kubelet.reconcile({})
    await pods.until(lambda: not is_alive(pid), timeout_s=20)
    await eventually(lambda: pods.kube.deleted == ["p"])
    await kubelet.stop_all()


async def test_what_cannot_be_taken_up_is_told_and_the_other_pods_go_on(
    pods: Pods, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = pods.start(obj=deaf(grace_s=1))
    await pods.until(lambda: "running" in pods.state())
    (pid,) = pids(pods)
    await pods.abandon(worker)
    opened = LogFile.__init__

    def refused(log: LogFile, path: Path, **more: Any) -> None:
        if "uid-p/" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        opened(log, path, **more)

    monkeypatch.setattr(LogFile, "__init__", refused)
    kubelet = Kubelet(pods.machine, Scheduler(pods.machine.kube, pods.machine.events, lambda: None))
    other = pod_object("other", spec={"containers": [{"name": "main", "image": IMAGE}]})
    kubelet.stop_left_overs({})
    kubelet.reconcile({("default", "p"): worker.obj, ("default", "other"): other})
    await eventually(lambda: "uid-other" in kubelet.leaders(["uid-other"]))
    assert len([record for record in caplog.records if record.exc_info]) == 2
    assert is_alive(pid)
    await kubelet.stop_all()


async def test_a_pod_is_removed_however_long_the_api_was_away(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, removed = list[str](), pods.kube.delete

    async def away(kind: Kind, name: str, **more: Any) -> None:
        tried.append(name)
        if len(tried) < 50:
            raise Unavailable("refused")
        await removed(kind, name, **more)

    monkeypatch.setattr(pods.kube, "delete", away)
    monkeypatch.setattr("slipway.onebox.runner.kubelet.backoff_s", lambda _: 0.0)
    kubelet = Kubelet(pods.machine, Scheduler(pods.machine.kube, pods.machine.events, lambda: None))
    kubelet.reconcile({("default", "p"): pod_object(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})})
    await eventually(lambda: pods.kube.deleted == ["p"])


async def test_a_runner_that_stops_does_not_wait_for_an_api_that_is_away(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    async def away(_kind: Kind, name: str, **_: Any) -> None:
        tried.append(name)
        raise Unavailable("refused")

    monkeypatch.setattr(pods.kube, "delete", away)
    monkeypatch.setattr("slipway.onebox.runner.kubelet.backoff_s", lambda _: 3600.0)
    kubelet = Kubelet(pods.machine, Scheduler(pods.machine.kube, pods.machine.events, lambda: None))
    kubelet.reconcile({("default", "p"): deaf(grace_s=0)})
    await pods.until(lambda: "running" in pods.state())
    kubelet.reconcile({})
    await eventually(lambda: tried)
    async with asyncio.timeout(20):
        await kubelet.stop_all()


def marked(pods: Pods) -> list[int]:
    mark = container_mark(pods.machine.paths, "uid-p", "main")
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found if has_mark(pid, mark)]


async def test_a_full_disk_ends_no_pod_and_starts_none_twice(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    is_full, written = True, StateFile.write

    def write(file: StateFile, state: PodState) -> None:
        if is_full and state.processes:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(file, state)

    monkeypatch.setattr(StateFile, "write", write)
    monkeypatch.setattr("slipway.onebox.runner.pod_worker.SAVE_AGAIN_S", 0.1)
    worker = pods.start(obj=deaf(grace_s=1))
    await pods.until(lambda: ready(pods))
    (first,) = await eventually(lambda: marked(pods))
    await eventually(lambda: pods.kube.reasons().count("FailedStateWrite") == 1)
    await pods.abandon(worker)

    again = pods.start(obj=deaf(grace_s=1))  # a runner that cannot know what the first one started
    await pods.until(lambda: ready(pods) and pids(pods) != [first])
    assert not is_alive(first)
    (second,) = await eventually(lambda: marked(pods))
    assert pids(pods) == [second]
    is_full = False

    def is_saved() -> bool:
        state = read_state(again.folder)
        return state is not None and [item.pid for item in state.processes.values()] == [second]

    await eventually(is_saved, what="the state is written once the disk has room")


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_strange_file_among_the_logs_stays_and_the_container_starts(pods: Pods) -> None:
    worker = pods.start(obj=deaf(grace_s=1))
    await pods.until(lambda: "running" in pods.state())
    folder = worker.folder / "logs" / "main"
    for name in ("notes.txt", "core.123", "-1.log"):
        (folder / name).write_text("mine")
    await pods.abandon(worker)
    again = pods.start(obj=worker.obj)
    await pods.until(lambda: ready(pods))
    assert listed(folder) == ["-1.log", "0.log", "core.123", "notes.txt"]
    await pods.stop(again)


async def test_only_logs_of_the_last_runs_stay(tmp_path: Path) -> None:
    for run in range(4):
        Output(tmp_path / f"{run}.log", pipes=tmp_path / "main", is_new=True).close()
    assert sorted(name for name in listed(tmp_path) if name.endswith(".log")) == ["2.log", "3.log"]


def test_lines_are_lost_and_nothing_else_while_a_log_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logs, "MAX_LOG_BYTES", 100)
    log = LogFile(tmp_path / "0.log")
    log.write("stdout", [b"x" * 60])
    (tmp_path / "0.log.1").mkdir()
    (tmp_path / "0.log.1" / "in the way").touch()
    for _ in range(3):
        log.write("stdout", [b"lost"])
    assert caplog.text.count("lines are lost") == 1
    (tmp_path / "0.log.1").rename(tmp_path / "aside")
    log.write("stdout", [b"kept"])
    log.close()
    assert (tmp_path / "0.log").read_text().endswith("kept\n")
    assert log.tail.endswith("lost\nkept")


async def test_a_pre_stop_hook_may_be_a_pause(pods: Pods) -> None:
    program = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *a: (print(time.time(), flush=True), sys.exit(0))); print('up', flush=True); time.sleep(600)"
    hook = {"preStop": {"sleep": {"seconds": 1}}}
    worker = pods.start(obj=deaf(grace_s=20, command=["python", "-c", program], lifecycle=hook))
    await pods.until(lambda: pods.log(worker) == ["up"])
    await pods.stop(worker)
    assert len(pods.log(worker)) == 2, "TERM came after the pause"
    assert "FailedPreStopHook" not in pods.kube.reasons()


async def test_a_pre_stop_hook_may_be_a_request(pods: Pods) -> None:
    program = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *a): pass
server = http.server.HTTPServer((os.environ["SLIPWAY_POD_IP"], 9000), Handler)
print("up", flush=True)
server.serve_forever()
"""
    hook = {"preStop": {"httpGet": {"path": "/bye", "port": 9000}}}
    worker = pods.start(obj=deaf(grace_s=20, command=["python", "-c", program], lifecycle=hook))
    await pods.until(lambda: pods.log(worker) == ["up"])
    await pods.stop(worker)
    assert pods.log(worker) == ["up", "/bye"]
    assert "FailedPreStopHook" not in pods.kube.reasons()


async def test_a_pause_longer_than_the_grace_period_is_cut_off_and_told(pods: Pods) -> None:
    worker = pods.start(obj=deaf(grace_s=1, lifecycle={"preStop": {"sleep": {"seconds": LONG_S}}}))
    await pods.until(lambda: pods.log(worker) == ["deaf"])
    await pods.stop(worker)
    assert pods.state()["terminated"]["exitCode"] == 137


@pytest.mark.parametrize(("sleep_s", "slept_s", "said"), [(5, 5, ""), (300, 20, "sleep of 300 s: cut off after 20 s")])
async def test_a_pause_takes_its_time_and_no_more_than_there_is(
    monkeypatch: pytest.MonkeyPatch, sleep_s: float, slept_s: float, said: str
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def execute(*_: Any) -> int | None:
        raise AssertionError("a pause runs no command")

    monkeypatch.setattr("slipway.onebox.runner.probes.asyncio.sleep", sleep)
    check = Check("sleep", sleep_s=sleep_s)
    async with aiohttp.ClientSession() as session:
        result = await run_check(check, ip="127.0.0.1", timeout_s=20, session=session, execute=execute)
    assert (result.is_ok, result.message, slept) == (not said, said, [slept_s])


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ({"lifecycle": {"preStop": {"sleep": {"seconds": -1}}}}, "sleep.seconds: -1 is not a time"),
        ({"lifecycle": {"preStop": {"sleep": {}, "wait": {}}}}, "one of exec, httpGet, sleep, tcpSocket is needed"),
        ({"lifecycle": {"preStop": {"sleep": {"second": 1}}}}, "the field 'seconds' is missing"),
        ({"readinessProbe": {"sleep": {"seconds": 1}}}, "one of httpGet, tcpSocket, exec, grpc is needed"),
    ],
)
def test_pauses_that_are_none_are_refused(container: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidPod, match=said.replace(".", "[.]")):
        parse_pod(pod_object(spec={"containers": [{"name": "main", "image": IMAGE, **container}]}))
