"""``python -m slipway.controller``: keeps every SeldonDeployment as its manifest says."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import aiohttp

from slipway.controller.alias_watch import AliasWatch, ReadAliases
from slipway.controller.meta import DEPLOYMENT_ID, MANAGED_BY, MANAGER
from slipway.controller.options import make_parser, settings_of
from slipway.controller.queue import Key, WorkQueue
from slipway.controller.reconcile import Reconciler, owned_kinds
from slipway.controller.report import Reports
from slipway.controller.resolver import Ask, PatientResolver
from slipway.controller.secrets import ModelSecret
from slipway.controller.settings import Settings
from slipway.controller.view import View
from slipway.kube.client import Kube
from slipway.kube.errors import ConfigError, Conflict, KubeError
from slipway.kube.health import serve_health
from slipway.kube.kinds import POD, SECRET, SELDON_DEPLOYMENT
from slipway.kube.reflector import Change, Reflector
from slipway.registry import Pointer, RegistryAddress, RegistryUnavailable, ResolvedModel, read_aliases, resolve

log = logging.getLogger(__name__)
SELECTOR = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(os.environ)
    arguments = parser.parse_args(argv)
    settings = settings_of(parser, arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(run(arguments.kubeconfig, settings, RegistryAddress.from_env(), health=arguments.health_socket))
    except ConfigError as error:
        parser.error(str(error))


async def run(
    kubeconfig: str | None, settings: Settings, registry: RegistryAddress | None, *, health: Path | None = None
) -> None:
    """Until SIGTERM or SIGINT.

    Raises:
        ConfigError: the kubeconfig cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Kube.from_kubeconfig(kubeconfig, user_agent=MANAGER) as kube:
        await keep(kube, settings, registry, stop, health=health)


async def keep(
    kube: Kube, settings: Settings, registry: RegistryAddress | None, stop: asyncio.Event, *, health: Path | None = None
) -> None:
    """Follow the API and bring every SeldonDeployment about, until ``stop`` is set; ``health`` as for serve_health."""
    async with (
        Reflector(kube, [SELDON_DEPLOYMENT]) as deployments,
        Reflector(kube, [*owned_kinds(settings), POD], label_selector=SELECTOR) as dependents,
        Reflector(kube, [SECRET], settings.default_model_secret[0]) as secrets,
        aiohttp.ClientSession() as session,
        serve_health(health, lambda: deployments.synced and dependents.synced and secrets.synced),
    ):
        secret = ModelSecret(kube, secrets, *settings.default_model_secret)
        watch = AliasWatch(
            _reader(registry, session), lambda: deployments.objects(SELDON_DEPLOYMENT), settings.follow_interval_s
        )
        resolver = PatientResolver(_asker(registry, session))
        known = View(deployments)
        reconciler = Reconciler(kube, known, View(dependents), secret, settings, watch, resolver, Reports(kube, known))
        queue = WorkQueue(reconciler, _report_error)
        follow = asyncio.create_task(_follow_all(deployments, dependents, secrets, queue), name="follow the API")
        aliases = asyncio.create_task(_follow_aliases(deployments, watch, queue), name="follow the aliases")
        stopped = asyncio.create_task(stop.wait(), name="wait for the signal")
        try:
            await asyncio.wait([follow, aliases, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in (follow, aliases):
                if task.done():
                    task.result()  # it ends only by an error: let the supervisor see it
        finally:
            for each in (follow, aliases, stopped):
                each.cancel()
            await asyncio.gather(follow, aliases, stopped, return_exceptions=True)
            await queue.close()
            await resolver.close()


def _reader(registry: RegistryAddress | None, session: aiohttp.ClientSession) -> ReadAliases:
    async def read(model: str) -> Mapping[str, Pointer]:
        if registry is None:
            raise RegistryUnavailable(f"models:/{model}: the controller was started without MLFLOW_TRACKING_URI")
        return await read_aliases(model, registry=registry, session=session)

    return read


def _asker(registry: RegistryAddress | None, session: aiohttp.ClientSession) -> Ask:
    async def ask(uri: str) -> ResolvedModel:
        if registry is None:
            raise RegistryUnavailable(f"{uri}: the controller was started without MLFLOW_TRACKING_URI")
        model = await resolve(uri, registry=registry, session=session)
        log.info("%s is %s %s", uri, model.uri, model.digest)
        return model

    return ask


async def _follow_aliases(deployments: Reflector, watch: AliasWatch, queue: WorkQueue) -> None:
    """Not before it is known who follows what; a look that takes long delays the next one, there is never more than one."""
    await deployments.wait_synced()
    while True:
        for key in await watch.look():
            queue.add(key)
        await asyncio.sleep(watch.interval_s)


async def _follow_all(deployments: Reflector, dependents: Reflector, secrets: Reflector, queue: WorkQueue) -> None:
    """Nothing is looked at before all is known: everything would seem to be missing."""
    await asyncio.gather(*(reflector.wait_synced() for reflector in (deployments, dependents, secrets)))
    await asyncio.gather(
        _follow(deployments, queue, _changed),
        _follow(dependents, queue, lambda changes: _touched(changes, deployments, dependents)),
        _follow(secrets, queue, lambda _: set(deployments.objects(SELDON_DEPLOYMENT))),
    )


async def _follow(reflector: Reflector, queue: WorkQueue, touched: Callable[[frozenset[Change]], set[Key]]) -> None:
    while True:
        for key in touched(await reflector.changed()):
            queue.add(key)


def _changed(changes: frozenset[Change]) -> set[Key]:
    return {(change.namespace, change.name) for change in changes}


def _touched(changes: frozenset[Change], deployments: Reflector, dependents: Reflector) -> set[Key]:
    """Whose dependents changed. One that is gone names no owner: all SeldonDeployments of its namespace are looked at."""
    touched = set()
    for change in changes:
        obj = dependents.objects(change.kind).get((change.namespace, change.name))
        labels = (obj["metadata"].get("labels") or {}) if obj else {}
        touched.add((change.namespace, labels.get(DEPLOYMENT_ID)))
    known = deployments.objects(SELDON_DEPLOYMENT)
    return {key for key in known if key in touched or (key[0], None) in touched}


def _report_error(key: Key, error: Exception, again_s: float) -> None:
    if isinstance(error, Conflict):
        log.info("%s/%s: changed meanwhile, looked at again: %s", *key, error)
        return
    known = isinstance(error, KubeError | aiohttp.ClientError)
    log.error("%s/%s: %s; again in %.1f s", *key, error, again_s, exc_info=None if known else error)


if __name__ == "__main__":
    main()
