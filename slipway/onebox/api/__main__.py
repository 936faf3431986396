"""``python -m slipway.onebox.api``: the Kubernetes API of one machine."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import signal
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path

import uvloop

from slipway.onebox.api.admission import reviews
from slipway.onebox.api.auth import Authenticator, Authorizer
from slipway.onebox.api.builtin import load_catalog
from slipway.onebox.api.checks import Review
from slipway.onebox.api.connections import make_runner, protocols
from slipway.onebox.api.definitions import Definitions
from slipway.onebox.api.deletion import Deletion
from slipway.onebox.api.expiry import EventExpiry
from slipway.onebox.api.garbage import GarbageCollector
from slipway.onebox.api.listener import Listener, connections_of, ensure_certificate
from slipway.onebox.api.objects import Objects
from slipway.onebox.api.server import Parts, make_app
from slipway.onebox.api.store import Store
from slipway.onebox.api.watching import WatchHub
from slipway.onebox.descriptors import allow_many_files
from slipway.onebox.paths import Paths
from slipway.onebox.settings import CLUSTER_NETWORKS, SettingsError, parse_cluster_network

MIN_TOKEN_CHARS = 16
EXAMPLES = """examples:
  python -m slipway.onebox.api --home .slipway --listen 127.0.0.1:8001 --cluster-network 127.96.16.0/20
"""


class NotStarted(Exception):
    """Why the server cannot start, and what would be right."""


def parse_listen(text: str) -> tuple[str, int]:
    """``address:port``; only loopback addresses. Raises NotStarted."""
    host, found, port = text.rpartition(":")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not found or not port.isdigit() or int(port) > 65535:
        raise NotStarted(f"--listen {text}: an address and a port are expected, for example 127.0.0.1:8001")
    if not is_loopback:
        raise NotStarted(f"--listen {text}: only loopback addresses are served, for example 127.0.0.1:{port}")
    return host, int(port)


def read_token(path: Path) -> str:
    """The administrator's token. Raises NotStarted."""
    try:
        token = path.read_text().strip()
    except OSError as exc:
        raise NotStarted(f"{path}: {exc.strerror}: `slipway up` writes the API's token there") from exc
    if len(token) < MIN_TOKEN_CHARS:
        raise NotStarted(f"{path}: a token of at least {MIN_TOKEN_CHARS} characters is expected")
    return token


def make_parts(
    paths: Paths,
    *,
    admin_token: str,
    admission: Mapping[str, Review] | None = None,
    network: ipaddress.IPv4Network = CLUSTER_NETWORKS,
    authority: str = "",
) -> Parts:
    """Open the store and put the server together; ``admission`` defaults to the contract's rules.

    ``authority``: the certificate by which clients know this API, in PEM; empty where it speaks no TLS.
    """
    try:
        store = Store(paths.api_database)
    except sqlite3.OperationalError as exc:
        raise NotStarted(f"{paths.api_database}: {exc}: is another API running on this home?") from exc
    catalog = load_catalog(authority=authority)
    objects = Objects(store, catalog, reviews=reviews() if admission is None else admission, network=network)
    definitions = Definitions(objects)
    definitions.start()
    deletion = Deletion(objects)
    return Parts(
        objects=objects,
        hub=WatchHub(store),
        deletion=deletion,
        definitions=definitions,
        authenticator=Authenticator(store, admin_token=admin_token),
        authorizer=Authorizer(store),
        garbage=GarbageCollector(objects, deletion),
        expiry=EventExpiry(store),
        paths=paths,
    )


async def serve(paths: Paths, host: str, port: int, *, network: ipaddress.IPv4Network) -> None:
    """Serve until SIGTERM or SIGINT."""
    token = read_token(paths.secrets / "api-token")
    certificate, key = ensure_certificate(paths.secrets)
    parts = make_parts(paths, admin_token=token, network=network, authority=certificate.read_text())
    listener = Listener(certificate=certificate, key=key, max_connections=connections_of(allow_many_files()))
    runner = make_runner(make_app(parts, heard=listener.heard))
    await runner.setup()
    try:
        try:
            bound = listener.start(host, port, protocols(runner.server))
        except OSError as exc:
            raise NotStarted(f"{host}:{port}: {exc.strerror}: choose another port with --listen") from exc
        sys.stdout.write(f"serving the Kubernetes API on http(s)://{bound[0]}:{bound[1]}\n")
        sys.stdout.flush()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
    finally:
        await listener.stop()
        await runner.cleanup()
        with contextlib.suppress(sqlite3.ProgrammingError):
            parts.objects.store.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m slipway.onebox.api",
        description="The Kubernetes API of one machine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--home", type=Path, default=None, help="state folder (default: SLIPWAY_HOME, else .slipway)")
    parser.add_argument("--listen", default="127.0.0.1:8001", help="loopback address and port; port 0 takes a free one")
    parser.add_argument(
        "--cluster-network",
        default=str(CLUSTER_NETWORKS),
        metavar="CIDR",
        help=f"where Services get their addresses: a part of {CLUSTER_NETWORKS}, which is the default",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    paths = Paths(arguments.home.absolute()) if arguments.home else Paths.from_env()
    try:
        network = parse_cluster_network(arguments.cluster_network)
        uvloop.run(serve(paths, *parse_listen(arguments.listen), network=network))
    except (NotStarted, SettingsError) as exc:
        sys.stderr.write(f"slipway api: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
