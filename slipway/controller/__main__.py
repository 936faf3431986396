"""``python -m slipway.controller``: keeps every SeldonDeployment as its manifest says."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack

from slipway.controller.define import define
from slipway.controller.keep import Hosting, keep
from slipway.controller.leading import Election
from slipway.controller.meta import MANAGER
from slipway.controller.metrics import Metrics
from slipway.controller.options import make_parser, settings_of
from slipway.controller.probes import ProbesNotServed
from slipway.controller.settings import Settings
from slipway.kube.client import Kube
from slipway.kube.conduct import Conduct
from slipway.kube.errors import ConfigError, KubeError
from slipway.kube.kubeconfig import load_access
from slipway.kube.rate import Rate
from slipway.registry import RegistryAddress

REQUESTS_PER_S, REQUESTS_AT_ONCE = 50.0, 100
"""Of the work; what renews the lease has a connection of its own, which waits for nobody."""


class NotDefined(Exception):
    """The API server refuses the definition, or is not there."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(os.environ)
    arguments = parser.parse_args(argv)
    settings = settings_of(parser, arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(run(arguments, settings, RegistryAddress.from_env()))
    except (ConfigError, NotDefined, ProbesNotServed) as error:
        parser.error(str(error))


async def run(arguments: argparse.Namespace, settings: Settings, registry: RegistryAddress | None) -> None:
    """Until SIGTERM or SIGINT.

    Raises:
        ConfigError: the kubeconfig cannot be used.
        NotDefined: the definition was to be made, and cannot be.
        ProbesNotServed: the health port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    access, metrics = load_access(arguments.kubeconfig), Metrics()
    if arguments.install_crd:
        try:
            await define(access, controller_id=settings.controller_id, adopt=arguments.adopt_crd)
        except KubeError as exc:
            raise NotDefined(f"--install-crd: {exc}") from exc
    async with AsyncExitStack() as stack:
        election = None
        if arguments.leader_elect:
            own = await stack.enter_async_context(Kube(access, user_agent=MANAGER))
            place = arguments.leader_election_namespace or access.namespace
            election = Election.of(own, namespace=place, identity=_identity(), timing=arguments.leader_election_seconds)
        conduct = Conduct(
            Rate(REQUESTS_PER_S, REQUESTS_AT_ONCE), election.check if election else None, metrics.answered
        )
        kube = await stack.enter_async_context(Kube(access, user_agent=MANAGER, conduct=conduct))
        hosting = Hosting(arguments.health_socket, arguments.health_port, election, metrics)
        await keep(kube, settings, registry, stop, hosting)


def _identity() -> str:
    """This process and no other: the Pod's name says where to look, the rest differs for each start."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


if __name__ == "__main__":
    main()
