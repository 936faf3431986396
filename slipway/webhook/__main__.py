"""``python -m slipway.webhook``: refuses SeldonDeployments that break a rule, before an API server stores them."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from slipway.controller.settings import Settings
from slipway.kube.client import Kube
from slipway.kube.errors import ConfigError, KubeError
from slipway.webhook.files import read_pair
from slipway.webhook.options import Options, make_parser, options_of
from slipway.webhook.server import Shown, application, serve
from slipway.webhook.trust import MANAGER, Trust

log = logging.getLogger(__name__)
LOOK_EVERY_S = 60.0
"""At the Secret or the files: replicas agree within this time, and a certificate is renewed weeks before it ends."""
AGAIN_S = 2.0
"""After a look that failed: another replica was faster, or the API server was away."""
Pair = tuple[bytes, bytes]
Look = Callable[[], Awaitable[Pair]]


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    options = options_of(parser, parser.parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(run(options))
    except (ConfigError, OSError) as error:
        parser.error(str(error))


async def run(options: Options) -> None:
    """Until SIGTERM or SIGINT. Raises ConfigError, and OSError where the port is taken."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host = Host(options.host, options.port, options.drain_s)
    if options.certificate_folder is not None:
        await keep(host, options.settings, from_files(options.certificate_folder), stop)
        return
    async with Kube.from_kubeconfig(options.kubeconfig, user_agent=MANAGER) as kube:
        trust = Trust(kube, options.secret, options.configuration, options.names)
        await keep(host, options.settings, from_secret(trust), stop)


@dataclass
class Host:
    """Where to listen, and how long on after the end was asked for; ``port`` becomes the one taken where 0 was said."""

    address: str
    port: int
    drain_s: float = 0.0


def from_secret(trust: Trust) -> Look:
    async def look() -> Pair:
        found = await trust.turn()
        return found.certificate, found.key

    return look


def from_files(folder: Path) -> Look:
    async def look() -> Pair:
        return read_pair(folder)

    return look


async def keep(host: Host, settings: Settings, look: Look, stop: asyncio.Event) -> None:
    """Listen once there is a certificate, and show what ``look`` finds, until ``stop`` is set."""
    shown, has_one = Shown(), asyncio.Event()
    stopped = asyncio.create_task(stop.wait(), name="wait for the signal")
    looks = asyncio.create_task(_look_on(shown, look, has_one), name="look at the certificate")
    first = asyncio.create_task(has_one.wait(), name="the first certificate")
    try:
        await asyncio.wait([stopped, looks, first], return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            async with serve(application(settings), shown, host.address, host.port) as port:
                host.port = port
                log.info("listening on %s:%d", host.address, port)
                await asyncio.wait([stopped, looks], return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    await asyncio.sleep(host.drain_s)
        if looks.done():
            looks.result()  # it ends only by an error: let whoever started this see it
    finally:
        for task in (stopped, looks, first):
            task.cancel()
        await asyncio.gather(stopped, looks, first, return_exceptions=True)


async def _look_on(shown: Shown, look: Look, has_one: asyncio.Event) -> NoReturn:
    while True:
        if is_shown := await _show(shown, look):
            has_one.set()
        await asyncio.sleep(LOOK_EVERY_S if is_shown else AGAIN_S)


async def _show(shown: Shown, look: Look) -> bool:
    """False where there was nothing to show: what is shown already goes on being shown."""
    try:
        if shown.show(*await look()):
            log.info("a new certificate is shown")
    except (KubeError, OSError, ssl.SSLError) as error:
        log.warning("no certificate: %s; again in %g s", error, AGAIN_S)
        return False
    return True


if __name__ == "__main__":
    main()
