"""A machine with a real tiny image, its API played behind the two methods that Pods use; and the real API and runner as processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.kube.client import Kube
from slipway.kube.kinds import EVENT, POD, Kind
from slipway.onebox.images.build import build
from slipway.onebox.images.store import Store
from slipway.onebox.paths import Paths
from slipway.onebox.runner.addresses import Addresses
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.first_use import FirstUse
from slipway.onebox.runner.hosts import render_hosts, write_hosts
from slipway.onebox.runner.machine import Machine
from slipway.onebox.runner.namespaces import has_mount_namespaces
from slipway.onebox.runner.pod_worker import PodWorker
from slipway.onebox.runner.process import Process
from slipway.onebox.runner.references import Sources
from tests.onebox_runner.objects import pod_object
from tests.onebox_runner.onebox import Onebox
from tests.waiting import eventually

IMAGE = "test/app:1"


class RecordingKube:
    """Keeps what Pods write: their status, their annotations, their events."""

    def __init__(self) -> None:
        self.statuses: list[dict[str, Any]] = []
        self.annotations: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self.deleted: list[str] = []

    async def patch(
        self, kind: Kind, name: str, body: Any, *, subresource: str | None = None, **_: Any
    ) -> dict[str, Any]:
        if kind == POD and subresource == "status":
            self.statuses.append(body["status"])
        elif kind == POD:
            self.annotations.update(body["metadata"]["annotations"])
        return {"metadata": {"name": name}}

    async def delete(self, kind: Kind, name: str, **_: Any) -> None:
        assert kind == POD
        self.deleted.append(name)

    async def create(self, obj: Any, **_: Any) -> Any:
        assert obj["kind"] == EVENT.kind
        self.events.append(obj)
        return obj

    @property
    def status(self) -> dict[str, Any]:
        return self.statuses[-1] if self.statuses else {}

    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.events]


class Pods:
    """Runs Pods of one machine and stops them at the end."""

    def __init__(self, machine: Machine, kube: RecordingKube, sources: dict[str, dict[tuple[str, str], Any]]) -> None:
        self.machine = machine
        self.kube = kube
        self.sources = sources
        self._abandoned: list[Process] = []
        self._running: list[tuple[PodWorker, asyncio.Task[None]]] = []

    def start(self, *command: str, obj: dict[str, Any] | None = None, **container: Any) -> PodWorker:
        """A Pod whose container runs ``command`` in the tiny image, or the Pod of ``obj``."""
        if obj is None:
            item = {"name": "main", "image": IMAGE, **({"command": list(command)} if command else {}), **container}
            obj = pod_object(spec={"containers": [item], "terminationGracePeriodSeconds": 2})
        worker = PodWorker(obj, self.machine)
        self._running.append((worker, asyncio.create_task(worker.run())))
        return worker

    async def stop(self, worker: PodWorker, reason: str = "deleted") -> None:
        worker.stop(reason)
        await next(task for known, task in self._running if known is worker)

    async def abandon(self, worker: PodWorker) -> None:
        """As if the runner had been killed: the task ends, processes stay."""
        entry = next(item for item in self._running if item[0] is worker)
        self._running.remove(entry)
        self._abandoned += [process for process in worker._holdings.processes.values() if process._popen is not None]
        entry[1].cancel()
        await asyncio.gather(entry[1], return_exceptions=True)

    async def until(self, predicate: Any, *, timeout_s: float = 15) -> Any:
        for _, task in self._running:
            if task.done():
                task.result()
        return await eventually(predicate, timeout_s=timeout_s, what=f"status {self.kube.status}")

    def state(self, container: str = "main") -> dict[str, Any]:
        found = self.kube.status.get("containerStatuses") or ()
        return next((item["state"] for item in found if item["name"] == container), {})

    def log(self, worker: PodWorker, *, container: str = "main", restart: int = 0) -> list[str]:
        """The texts of the lines printed so far."""
        pod = worker.pod
        path = self.machine.paths.container_log(pod.namespace, pod.name, pod.uid, container=container, restart=restart)
        return [line.split(" ", 3)[3] for line in path.read_text().splitlines()] if path.exists() else []

    async def close(self) -> None:
        for worker, task in self._running:
            worker.stop("the test is over")
            await asyncio.gather(task, return_exceptions=True)
        for process in self._abandoned:  # they are this process's children, who play an earlier runner's
            assert process._popen is not None
            process._popen.kill()
            process._popen.wait()


@pytest.fixture(scope="session")
def image_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one image: a module that says who it is, and no requirements."""
    source = tmp_path_factory.mktemp("source")
    (source / "image.yaml").write_text(
        "name: test/app\nentrypoint: [python, app.py]\nrequirements: none.txt\nenv: {GREETING: hello}\nsources: [app.py]\n"
    )
    (source / "none.txt").write_text("")
    (source / "app.py").write_text(
        "import os\nprint(os.environ['GREETING'], flush=True)\nimport time\ntime.sleep(600)\n"
    )
    home = tmp_path_factory.mktemp("home")
    build(IMAGE, paths=Paths(home), folder=source)
    return home


@pytest.fixture
def home(image_home: Path, tmp_path: Path) -> Path:
    """A home of the test's own that shares the image."""
    own = tmp_path / "home"
    own.mkdir()
    for name in ("images", "environments"):
        (own / name).symlink_to(image_home / name)
    return own


@pytest.fixture(params=["mounted"])
def path_mode(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param


@pytest.fixture
async def pods(home: Path, path_mode: str) -> AsyncIterator[Pods]:
    paths, kube = Paths(home), RecordingKube()
    paths.pods.mkdir()
    write_hosts(paths.hosts, render_hosts([]))
    sources: dict[str, dict[tuple[str, str], Any]] = {"config_maps": {}, "secrets": {}, "claims": {}, "namespaces": {}}
    async with aiohttp.ClientSession() as session:
        machine = Machine(
            paths=paths,
            kube=kube,  # type: ignore[arg-type]  # the two methods that Pods use
            store=Store(paths),
            addresses=Addresses(str(home)),
            events=Events(kube),  # type: ignore[arg-type]
            session=session,
            sources=lambda: Sources(**sources, cpus=2, memory_bytes=1 << 30),
            has_namespaces=path_mode == "mounted" and await has_mount_namespaces(paths),
            first_use=FirstUse(paths),
        )
        writing = asyncio.create_task(machine.events.run())
        running = Pods(machine, kube, sources)
        yield running
        await running.close()
        await machine.first_use.close()
        writing.cancel()
        machine.addresses.close()


@pytest.fixture
async def onebox(tmp_path: Path) -> AsyncIterator[Onebox]:
    home = tmp_path / "home"
    home.mkdir()
    platform = Onebox(Paths(home), tmp_path / "source")
    try:
        platform.build("1", says="one")
        platform.start_api()
        platform.start_runner()
        yield platform
    finally:
        platform.close()


@pytest.fixture
async def kube(onebox: Onebox) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(onebox.paths.kubeconfig) as client:
        yield client
