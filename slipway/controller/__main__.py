"""``python -m slipway.controller``: keeps every SeldonDeployment as its manifest says."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from collections.abc import Sequence
from typing import Any

import aiohttp

from slipway.controller.meta import MANAGED_BY, MANAGER
from slipway.controller.queue import Key, WorkQueue
from slipway.controller.reconcile import OWNED_KINDS, Reconciler
from slipway.controller.settings import Settings
from slipway.kube.client import Kube
from slipway.kube.errors import KubeError
from slipway.kube.kinds import POD, SELDON_DEPLOYMENT
from slipway.kube.reflector import Change, Reflector
from slipway.registry import RegistryAddress

log = logging.getLogger(__name__)
EXAMPLES = """\
examples:
  python -m slipway.controller --kubeconfig .slipway/kubeconfig
  python -m slipway.controller --istio-gateway istio-system/seldon-gateway --executor-image slipway/executor:0.1.0

The registry's address and login come from MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
"""
SELECTOR = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())


def main(argv: Sequence[str] | None = None) -> None:
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m slipway.controller",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kubeconfig", help="default: KUBECONFIG, else the Pod's ServiceAccount")
    parser.add_argument("--executor-image", default=defaults.executor_image)
    parser.add_argument("--storage-initializer-image", default=defaults.storage_initializer_image)
    parser.add_argument("--istio-gateway", default=defaults.istio_gateway, metavar="NAMESPACE/NAME")
    parser.add_argument(
        "--default-model-secret", default="/".join(defaults.default_model_secret), metavar="NAMESPACE/NAME"
    )
    arguments = parser.parse_args(argv)
    namespace, separator, name = arguments.default_model_secret.partition("/")
    if not separator:
        parser.error(f"--default-model-secret {arguments.default_model_secret!r}: write NAMESPACE/NAME")
    settings = Settings(
        executor_image=arguments.executor_image,
        storage_initializer_image=arguments.storage_initializer_image,
        istio_gateway=arguments.istio_gateway,
        default_model_secret=(namespace, name),
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(run(arguments.kubeconfig, settings, RegistryAddress.from_env()))


async def run(kubeconfig: str | None, settings: Settings, registry: RegistryAddress | None) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with (
        Kube.from_kubeconfig(kubeconfig, user_agent=MANAGER) as kube,
        Reflector(kube, [SELDON_DEPLOYMENT]) as deployments,
        Reflector(kube, [*OWNED_KINDS, POD], label_selector=SELECTOR) as dependents,
        aiohttp.ClientSession() as session,
    ):
        reconciler = Reconciler(kube, deployments, dependents, session, settings, registry)
        queue = WorkQueue(reconciler, _report_error)
        follow = asyncio.gather(
            _follow_deployments(deployments, dependents, queue), _follow_dependents(deployments, dependents, queue)
        )
        stopped = asyncio.create_task(stop.wait())
        ends: list[asyncio.Future[Any]] = [follow, stopped]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if follow.done():
            follow.result()  # a follower ends only by an error: let the supervisor see it
        follow.cancel()
        await asyncio.gather(follow, return_exceptions=True)
        await queue.close()


async def _follow_deployments(deployments: Reflector, dependents: Reflector, queue: WorkQueue) -> None:
    await asyncio.gather(deployments.wait_synced(), dependents.wait_synced())  # else everything would look missing
    while True:
        for change in await deployments.changed():
            queue.add((change.namespace, change.name))


async def _follow_dependents(deployments: Reflector, dependents: Reflector, queue: WorkQueue) -> None:
    """A dependent that is gone names no owner: every SeldonDeployment of its namespace is looked at."""
    await asyncio.gather(deployments.wait_synced(), dependents.wait_synced())
    while True:
        for key in _touched(await dependents.changed(), deployments):
            queue.add(key)


def _touched(changes: frozenset[Change], deployments: Reflector) -> set[Key]:
    namespaces = {change.namespace for change in changes}
    return {key for key in deployments.objects(SELDON_DEPLOYMENT) if key[0] in namespaces}


def _report_error(key: Key, error: Exception, again_s: float) -> None:
    known = isinstance(error, KubeError | aiohttp.ClientError)
    log.error("%s/%s: %s; again in %.1f s", *key, error, again_s, exc_info=None if known else error)


if __name__ == "__main__":
    main()
