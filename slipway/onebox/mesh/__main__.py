"""The mesh process: Istio's objects in the API → the configuration files of two Envoys."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

from slipway.kube.client import Kube
from slipway.kube.errors import ConfigError
from slipway.kube.health import serve_health
from slipway.onebox.arguments import process_parser
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.mesh.loop import run, site
from slipway.onebox.paths import Paths
from slipway.onebox.settings import SettingsError, parse_cluster_network

EPILOG = """\
examples:
  python -m slipway.onebox.mesh --home .slipway --kubeconfig .slipway/kubeconfig --gateway 127.0.0.1:8080

It writes HOME/mesh/{bootstrap,listeners}-{0,1}.json, clusters.json and routes.json, which the processes
envoy-0 and envoy-1 read. Their access logs are HOME/logs/access-{0,1}.log.
HOME/mesh/targets/{pods,envoys}.json tell a Prometheus what to scrape.
"""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=arguments.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(_run(arguments))
    except asyncio.CancelledError:
        return 0
    except ConfigError as exc:
        print(f"mesh: {exc}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = process_parser("slipway.onebox.mesh", __doc__, EPILOG)
    parser.add_argument(
        "--gateway", type=parse_address, default=("127.0.0.1", 8080), metavar="HOST:PORT", help="default 127.0.0.1:8080"
    )
    parser.add_argument(
        "--cluster-network",
        type=_network,
        metavar="NETWORK",
        help="the home's, at whose last two addresses the Envoys show their metrics; default: they do not",
    )
    parser.add_argument(
        "--health-socket",
        type=Path,
        metavar="PATH",
        help="answer GET /readyz on this Unix socket, once Envoys can start",
    )
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser


def parse_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:8080`` → its parts."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080")
    return host, int(port)


def _network(text: str) -> IPv4Network:
    try:
        return parse_cluster_network(text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


async def _run(arguments: argparse.Namespace) -> None:
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if task is not None:
            loop.add_signal_handler(number, task.cancel)
    paths = Paths(arguments.home.absolute())
    async with (
        Kube.from_kubeconfig(arguments.kubeconfig, user_agent="slipway-mesh") as kube,
        serve_health(arguments.health_socket, lambda: can_start_envoys(paths)),
    ):
        await run(kube, paths, site(*arguments.gateway), arguments.cluster_network)


def can_start_envoys(paths: Paths) -> bool:
    """Whether the files are there that each Envoy begins with."""
    return all(Layout(paths).bootstrap(index).exists() for index in ENVOYS)


if __name__ == "__main__":
    raise SystemExit(main())
