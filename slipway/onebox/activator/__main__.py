"""The activator process: requests for predictors at rest, and when they rest."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import uvloop
from aiohttp import web

from slipway.kube.client import Kube
from slipway.kube.errors import ConfigError
from slipway.kube.health import serve_health
from slipway.kube.kinds import HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT
from slipway.kube.reflector import Reflector
from slipway.onebox.activator.grpc_proxy import Channels, GrpcProxy, grpc_server
from slipway.onebox.activator.hold import Hold
from slipway.onebox.activator.limits import DRAIN_S, HEADER_BYTES, READ_BYTES
from slipway.onebox.activator.rest_proxy import RestProxy, client_session
from slipway.onebox.activator.scaler import Scaler
from slipway.onebox.activator.view import KINDS, View
from slipway.onebox.arguments import process_parser
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.paths import Paths
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.events import Events

FOLLOWED = (*KINDS, SCALED_OBJECT, HORIZONTAL_POD_AUTOSCALER)
EPILOG = """\
examples:
  python -m slipway.onebox.activator --home .slipway --kubeconfig .slipway/kubeconfig

It listens on the Unix sockets activator-http.sock and activator-grpc.sock, to which the gateway sends what is for a
Deployment without a ready Pod that a ScaledObject lets rest at zero replicas (a componentSpec's kedaSpec).
"""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        uvloop.run(_until_told(arguments))
    except ConfigError as exc:
        print(f"activator: {exc}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = process_parser("slipway.onebox.activator", __doc__, EPILOG)
    parser.add_argument("--health-socket", type=Path, metavar="PATH", help="answer GET /readyz on this Unix socket")
    return parser


async def _until_told(arguments: argparse.Namespace) -> None:
    """Until SIGTERM or SIGINT; then what passes through may end, for DRAIN_S."""
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    layout = Layout(Paths(arguments.home.absolute()))
    async with Kube.from_kubeconfig(arguments.kubeconfig, user_agent="slipway-activator") as kube:
        reflector = Reflector(kube, FOLLOWED)
        async with serve_health(arguments.health_socket, lambda: reflector.synced), activated(kube, reflector, layout):
            await asked_to_stop.wait()


@asynccontextmanager
async def activated(kube: Kube, reflector: Reflector, layout: Layout) -> AsyncIterator[Hold]:
    """Everything runs inside; a task of it that ends in an error ends the whole."""
    events = Events(kube)
    admins = [Admin(layout.admin_socket(index)) for index in ENVOYS]
    scaler = Scaler(kube, Cache(reflector), admins=admins, events=events)
    hold = Hold(View(reflector), scaler.wake)
    scaler.held = hold.held
    async with reflector:
        await reflector.wait_synced()
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(work) for work in (events.run(), scaler.run(), _follow(reflector, hold, scaler))
            ]
            try:
                async with _listening(hold, layout):  # while it drains, who waits can still be woken
                    yield hold
            finally:
                for task in background:
                    task.cancel()


async def _follow(reflector: Reflector, hold: Hold, scaler: Scaler) -> None:
    while True:
        await reflector.changed()
        await hold.news()
        scaler.wake()


@asynccontextmanager
async def _listening(hold: Hold, layout: Layout) -> AsyncIterator[None]:
    """On both sockets; an earlier process' sockets are replaced."""
    rpc = layout.activator_socket("grpc")
    channels = Channels()
    server = grpc_server(GrpcProxy(hold, channels))
    async with (
        client_session() as session,
        aclosing(RestProxy(hold, session)) as proxy,
        _http(proxy, layout.activator_socket("http")),
    ):
        rpc.unlink(missing_ok=True)
        server.add_insecure_port(f"unix:{rpc}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(DRAIN_S)
            await channels.close()
            rpc.unlink(missing_ok=True)


@asynccontextmanager
async def _http(proxy: RestProxy, path: Path) -> AsyncIterator[None]:
    server = web.Server(
        proxy.answer,
        handler_cancellation=True,  # a client that leaves is not waited for
        auto_decompress=False,
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
        read_bufsize=READ_BYTES,
        access_log=None,
    )
    runner = web.ServerRunner(server, shutdown_timeout=DRAIN_S)
    await runner.setup()
    path.unlink(missing_ok=True)  # noqa: ASYNC240  - one call, before anything is served
    try:
        await web.UnixSite(runner, str(path)).start()
        yield
    finally:
        await runner.cleanup()
        path.unlink(missing_ok=True)  # noqa: ASYNC240  - as above


if __name__ == "__main__":
    raise SystemExit(main())
