"""``python -m slipway.onebox.runner``: kubelet, workload controllers and endpoint controller of one machine."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import click

from slipway.kube.client import Kube
from slipway.kube.errors import KubeError
from slipway.kube.health import serve_health
from slipway.kube.kinds import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE,
    Kind,
)
from slipway.kube.reflector import Reflector, backoff_s
from slipway.onebox.descriptors import allow_many_files
from slipway.onebox.images.store import Store
from slipway.onebox.paths import Paths
from slipway.onebox.runner.addresses import Addresses
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.claim_rounds import ClaimRounds
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.first_use import FirstUse
from slipway.onebox.runner.hosts import render_hosts, write_hosts
from slipway.onebox.runner.kubelet import Kubelet
from slipway.onebox.runner.machine import Machine, memory_bytes
from slipway.onebox.runner.namespaces import has_mount_namespaces
from slipway.onebox.runner.node import register_node
from slipway.onebox.runner.node_lease import renew_lease
from slipway.onebox.runner.references import NODE_NAME, Sources
from slipway.onebox.runner.scaling import Scaling
from slipway.onebox.runner.scheduler import Scheduler
from slipway.onebox.runner.service_endpoints import ServiceEndpoints
from slipway.onebox.runner.workload_writes import Writes
from slipway.onebox.runner.workloads import KINDS, Workloads

LOCK = ".lock"
NAMES_AGAIN_S = 5.0
"""After names of Services could not be written."""
READ_BY_PODS = (CONFIG_MAP, SECRET, PERSISTENT_VOLUME_CLAIM, NAMESPACE)
"""What Sources hold."""

log = logging.getLogger("slipway.onebox.runner")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", type=click.Path(path_type=Path), required=True, help="The platform's folder (SLIPWAY_HOME).")
@click.option("--kubeconfig", type=click.Path(path_type=Path), required=True, help="How to reach the API.")
@click.option("--health-socket", type=click.Path(path_type=Path), help="Answer GET /readyz on this Unix socket.")
@click.option("--translate-paths", is_flag=True, help="Make no mount namespaces, as on a kernel that forbids them.")
def main(home: Path, kubeconfig: Path, *, health_socket: Path | None, translate_paths: bool) -> None:
    """Run the Pods, Deployments, ReplicaSets, Jobs and EndpointSlices of one machine.

    SIGTERM stops every Pod gracefully and leaves the objects: the next runner starts the Pods again. Killed, its
    containers run on, and the next runner adopts them.

    \b
    Example:
      python -m slipway.onebox.runner --home .slipway --kubeconfig .slipway/kubeconfig
    """  # noqa: D301  - click reads the backspace character
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    paths = Paths(home.absolute())
    paths.pods.mkdir(parents=True, exist_ok=True, mode=0o700)
    allow_many_files()  # a container takes four of them
    with (paths.pods / LOCK).open(
        "a"
    ) as lock:  # the kernel frees it when the runner ends; containers do not inherit it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise click.ClickException(f"another runner works on {paths.home}: stop it first (slipway down)") from exc
        asyncio.run(run(paths, kubeconfig, may_mount=not translate_paths, health=health_socket))


async def run(paths: Paths, kubeconfig: Path, *, may_mount: bool = True, health: Path | None = None) -> None:
    """Until SIGTERM or SIGINT. Raises KubeError where the API cannot be used at all."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    write_hosts(paths.hosts, render_hosts([]) if not paths.hosts.exists() else paths.hosts.read_text())
    async with Kube.from_kubeconfig(kubeconfig, user_agent="slipway-runner") as kube, _session() as session:
        events = Events(kube)
        reflector = Reflector(kube, [*KINDS, *READ_BY_PODS, POD, HORIZONTAL_POD_AUTOSCALER])
        has_namespaces = may_mount and await has_mount_namespaces(paths)
        log.info("paths of containers are %s", "mounted" if has_namespaces else "translated")
        machine = Machine(
            paths=paths,
            kube=kube,
            store=Store(paths),
            addresses=Addresses(str(paths.home)),
            events=events,
            session=session,
            sources=lambda: Sources(
                reflector.objects(CONFIG_MAP),
                reflector.objects(SECRET),
                reflector.objects(PERSISTENT_VOLUME_CLAIM),
                reflector.objects(NAMESPACE),
                cpus=os.cpu_count() or 1,
                memory_bytes=memory_bytes(),
            ),
            has_namespaces=has_namespaces,
            first_use=FirstUse(paths),
        )
        async with reflector, serve_health(health, lambda: reflector.synced):
            await _serve(machine, reflector, asked_to_stop)


async def _serve(machine: Machine, reflector: Reflector, asked_to_stop: asyncio.Event) -> None:
    await reflector.wait_synced()
    cache = Cache(reflector)
    scheduler = Scheduler(
        machine.kube,
        machine.events,
        lambda: reflector.objects(NODE).get(("", NODE_NAME)),
        lambda: reflector.objects(PERSISTENT_VOLUME_CLAIM),
    )
    kubelet = Kubelet(machine, scheduler)
    writes = Writes(machine.kube, cache, machine.events, scheduler.place)
    workloads = Workloads(writes, cache, machine.events)
    endpoints = ServiceEndpoints(writes, cache, machine.events)
    scaling = Scaling(machine.kube, cache, machine.events, session=machine.session, leaders=kubelet.leaders)
    claims = ClaimRounds(machine.kube, cache, machine.events, folder=machine.claims, held=kubelet.held_claims)
    _write_names(machine, reflector)
    kubelet.stop_left_overs(reflector.objects(POD))
    kubelet.reconcile(reflector.objects(POD))
    background = [
        asyncio.create_task(work)
        for work in (
            machine.events.run(),
            kubelet.watch_memory(),
            endpoints.run(),
            workloads.run(),
            scaling.run(),
            claims.run(),
            renew_lease(machine.kube),
            _follow(reflector, machine, kubelet, (endpoints, workloads, scaling, claims)),
        )
    ]
    stopping = asyncio.create_task(asked_to_stop.wait())
    registering = asyncio.create_task(_register(machine))
    try:
        done, _ = await asyncio.wait([stopping, *background], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()  # none of them ends: this raises what was wrong
        log.info("stopping every Pod")
        await kubelet.stop_all()
        await _say_stopped(machine)
    finally:
        for task in (stopping, registering, *background):
            task.cancel()
        await asyncio.gather(stopping, registering, *background, return_exceptions=True)
        await scheduler.close()
        await machine.first_use.close()
        machine.addresses.close()


async def _follow(
    reflector: Reflector,
    machine: Machine,
    kubelet: Kubelet,
    controllers: tuple[ServiceEndpoints, Workloads, Scaling, ClaimRounds],
) -> None:
    endpoints, workloads, scaling, claims = controllers
    are_written = False
    while True:
        kinds = await _changed_kinds(reflector, within_s=None if are_written else NAMES_AGAIN_S)
        if kinds & {POD, SERVICE, ENDPOINT_SLICE}:
            endpoints.wake()
        if SERVICE in kinds or not are_written:
            are_written = _write_names(machine, reflector)
        if kinds & {CONFIG_MAP, SECRET}:
            kubelet.refresh_volumes()
        if kinds & {POD, PERSISTENT_VOLUME_CLAIM}:
            claims.wake()
        if kinds & {POD, NODE, PERSISTENT_VOLUME_CLAIM}:
            kubelet.reconcile(reflector.objects(POD))
        if HORIZONTAL_POD_AUTOSCALER in kinds:
            scaling.wake()
        workloads.wake()


async def _changed_kinds(reflector: Reflector, *, within_s: float | None) -> set[Kind]:
    """None where nothing changes in that time."""
    try:
        async with asyncio.timeout(within_s):
            return {change.kind for change in await reflector.changed()}
    except TimeoutError:
        return set()


def _write_names(machine: Machine, reflector: Reflector) -> bool:
    """The Services' names for containers; False where the disk is full, for example: Pods run on with those they have."""
    try:
        write_hosts(machine.paths.hosts, render_hosts(reflector.objects(SERVICE).values()))
    except OSError as exc:
        log.warning("names of Services are not written: %s; again in %g s", exc, NAMES_AGAIN_S)
        return False
    return True


async def _register(machine: Machine) -> None:
    failures = 0
    while True:
        try:
            await register_node(machine.kube, is_ready=True, now=time.time())
        except KubeError as exc:
            failures += 1
            log.warning("the Node is not written: %s", exc)
            await asyncio.sleep(backoff_s(failures))
        else:
            return


async def _say_stopped(machine: Machine) -> None:
    try:
        await register_node(machine.kube, is_ready=False, now=time.time())
    except KubeError as exc:  # the API may be stopping too
        log.warning("the Node still says ready: %s", exc)


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    """For HTTP probes: a connection each, as a kubelet makes them."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=256)) as session:
        yield session


if __name__ == "__main__":
    main()
