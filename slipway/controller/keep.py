"""Follow the API, and while this process leads bring every SeldonDeployment about."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from slipway.controller.alias_watch import AliasWatch, ReadAliases
from slipway.controller.leading import Election, NotLeading
from slipway.controller.meta import DEPLOYMENT_ID, MANAGED_BY
from slipway.controller.metrics import Metrics
from slipway.controller.probes import serve_probes
from slipway.controller.queue import Key, WorkQueue
from slipway.controller.reconcile import Reconciler, owned_kinds
from slipway.controller.registry_address import asker, finder, reader
from slipway.controller.report import Reports
from slipway.controller.resolver import Ask, PatientResolver
from slipway.controller.secrets import ModelSecret
from slipway.controller.settings import Settings
from slipway.controller.slim import slim
from slipway.controller.view import View
from slipway.kube.client import Kube
from slipway.kube.errors import Conflict, KubeError
from slipway.kube.health import serve_health
from slipway.kube.kinds import NAMESPACE, POD, SECRET, SELDON_DEPLOYMENT
from slipway.kube.reflector import Change, Reflector
from slipway.registry import RegistryAddress

log = logging.getLogger(__name__)
SELECTOR = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())


@dataclass(frozen=True)
class Hosting:
    """What is around the loop: where it says how it is, whether it has rivals, who counts.

    ``health_port`` 0 takes a free port. Without ``election`` it works at once: nobody else does.
    """

    health_socket: Path | None = None
    health_port: int | None = None
    election: Election | None = None
    metrics: Metrics = field(default_factory=Metrics)


@dataclass(frozen=True)
class Known:
    """What is followed for as long as the process lives, whoever leads."""

    deployments: Reflector
    dependents: Reflector
    secrets: Reflector
    namespaces: Reflector

    @property
    def every(self) -> tuple[Reflector, ...]:
        return self.deployments, self.dependents, self.secrets, self.namespaces

    @property
    def synced(self) -> bool:
        return all(reflector.synced for reflector in self.every)

    async def wait_synced(self) -> None:
        """Nothing is looked at before all is known: everything would seem to be missing."""
        await asyncio.gather(*(reflector.wait_synced() for reflector in self.every))


def follow_api(kube: Kube, settings: Settings, metrics: Metrics) -> Known:
    """The reflectors of all that the controller reads, none started yet."""
    follow = partial(Reflector, kube, on_restart=metrics.watch_restarted, transform=slim)
    where, secret = settings.default_model_secret
    return Known(
        follow([SELDON_DEPLOYMENT], settings.namespace),
        follow([*owned_kinds(settings), POD], settings.namespace, label_selector=SELECTOR),
        follow([SECRET], where, field_selector=f"metadata.name={secret}"),
        follow([NAMESPACE], field_selector=f"metadata.name={settings.namespace}" if settings.namespace else None),
    )


async def keep(
    kube: Kube,
    settings: Settings,
    registry: RegistryAddress | None,
    stop: asyncio.Event,
    hosting: Hosting | None = None,
) -> None:
    """Until ``stop`` is set. Without ``registry`` the Secret of models says where it is.

    Raises:
        ProbesNotServed: the health port is taken. What ends a follower.
    """
    hosting = hosting or Hosting()
    known = follow_api(kube, settings, hosting.metrics)
    async with AsyncExitStack() as stack:
        for reflector in known.every:
            await stack.enter_async_context(reflector)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        find = finder(registry, known.secrets, settings.default_model_secret)
        await stack.enter_async_context(serve_health(hosting.health_socket, lambda: known.synced))
        await stack.enter_async_context(
            serve_probes(hosting.health_port, hosting.metrics, is_ready=lambda: known.synced)
        )

        async def work() -> None:
            await _work(kube, settings, known, reader(find, session), asker(find, session), hosting.metrics)

        await _first_of(_lead(known, hosting, work), _until(stop))


async def _lead(known: Known, hosting: Hosting, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A candidate that does not know all yet does not stand."""
    await known.wait_synced()
    election = hosting.election
    hosting.metrics.follow_leader(lambda: election is None or election.is_leading)
    await (work() if election is None else election.run(work))


async def _work(kube: Kube, settings: Settings, known: Known, read: ReadAliases, ask: Ask, metrics: Metrics) -> None:
    """One term of a leader: it begins by looking at everything, and remembers nothing of an earlier one."""
    watch = AliasWatch(read, lambda: known.deployments.objects(SELDON_DEPLOYMENT), settings.follow_interval_s)
    resolver, view = PatientResolver(ask), View(known.deployments)
    secret = ModelSecret(kube, known.secrets, *settings.default_model_secret)
    reports, dependents = Reports(kube, view, is_one_machine=settings.has_own_mesh), View(known.dependents)
    reconciler = Reconciler(kube, view, dependents, known.namespaces, secret, settings, watch, resolver, reports)
    queue = WorkQueue(metrics.timed(reconciler), _report_error)
    metrics.follow_queue(queue)
    for key in known.deployments.objects(SELDON_DEPLOYMENT):
        queue.add(key)
    try:
        await _first_of(_follow_all(known, queue, view, dependents), _follow_aliases(watch, queue))
    finally:
        await queue.close()
        await resolver.close()


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends, by itself or by an error; then the others are cancelled, and have ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow_aliases(watch: AliasWatch, queue: WorkQueue) -> None:
    """A look that takes long delays the next one, there is never more than one."""
    while True:
        for key in await watch.look():
            queue.add(key)
        await asyncio.sleep(watch.interval_s)


async def _follow_all(known: Known, queue: WorkQueue, view: View, dependents: View) -> None:
    await asyncio.gather(
        _follow(known.deployments, queue, _changed, view),
        _follow(known.dependents, queue, lambda changes: _touched(changes, known), dependents),
        _follow(known.secrets, queue, lambda _: set(known.deployments.objects(SELDON_DEPLOYMENT))),
        _follow(known.namespaces, queue, lambda changes: _within(changes, known)),
    )


async def _follow(
    reflector: Reflector, queue: WorkQueue, touched: Callable[[frozenset[Change]], set[Key]], view: View | None = None
) -> None:
    while True:
        changes = await reflector.changed()
        if view is not None:
            view.heard(changes)
        for key in touched(changes):
            queue.add(key)


def _changed(changes: frozenset[Change]) -> set[Key]:
    return {(change.namespace, change.name) for change in changes}


def _within(changes: frozenset[Change], known: Known) -> set[Key]:
    """Whose namespaces changed: a label of theirs says which controller looks after them."""
    names = {change.name for change in changes}
    return {key for key in known.deployments.objects(SELDON_DEPLOYMENT) if key[0] in names}


def _touched(changes: frozenset[Change], known: Known) -> set[Key]:
    """Whose dependents changed. One that is gone names no owner: all SeldonDeployments of its namespace are looked at."""
    touched = set()
    for change in changes:
        obj = known.dependents.objects(change.kind).get((change.namespace, change.name))
        labels = (obj["metadata"].get("labels") or {}) if obj else {}
        touched.add((change.namespace, labels.get(DEPLOYMENT_ID)))
    every = known.deployments.objects(SELDON_DEPLOYMENT)
    return {key for key in every if key in touched or (key[0], None) in touched}


def _report_error(key: Key, error: Exception, again_s: float) -> None:
    if isinstance(error, Conflict):
        log.info("%s/%s: changed meanwhile, looked at again: %s", *key, error)
        return
    if isinstance(error, NotLeading):
        log.warning("%s/%s: %s", *key, error)
        return
    known = isinstance(error, KubeError | aiohttp.ClientError)
    log.error("%s/%s: %s; again in %.1f s", *key, error, again_s, exc_info=None if known else error)
