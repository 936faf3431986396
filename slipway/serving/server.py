"""Runs REST applications and one gRPC server in one process: bind, serve, drain on SIGTERM, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
import uvloop
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.serving import limits
from slipway.serving.connections import acceptor
from slipway.serving.descriptors import joined_pools
from slipway.serving.lifecycle import Lifecycle, Shutdown
from slipway.serving.listening import every_address, tcp_socket
from slipway.serving.memory import return_large_blocks
from slipway.serving.rest import RENDER_ERROR, SIGN, Sign
from slipway.serving.rpc import Health, Unknown
from slipway.serving.rpc_bounds import BoundedCalls

POD_IP = "SLIPWAY_POD_IP"

logger = logging.getLogger(__name__)
http_logger = logging.getLogger("slipway.serving.http")


def _is_ours(record: logging.LogRecord) -> bool:
    """Broken requests are answered with 4xx, not logged with a traceback: their number is up to the client."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (web.RequestPayloadError, HttpProcessingError))


http_logger.addFilter(_is_ours)


class BindError(Exception):
    """A port could not be bound; the text names it."""


@dataclass(frozen=True)
class Rest:
    """One REST application and where it listens: a TCP port (0: any free one) or the path of a Unix socket."""

    app: web.Application
    port: int | Path
    cancels_abandoned: bool = False
    """Whether a handler is cancelled when its client leaves before the answer."""
    is_logged: bool = True
    """Whether its requests are in the access log, where there is one."""
    listener: socket.socket | None = None
    """Bound already, and others go on with it; ``port`` does not count then."""


@dataclass(frozen=True)
class Grpc:
    """The gRPC half: handlers, the full names of their services (for reflection and health), its port."""

    handlers: Sequence[grpc.GenericRpcHandler]
    services: Sequence[str]
    port: int
    max_message_bytes: int = MAX_BODY_BYTES
    max_calls: int = limits.MAX_CONCURRENT_RPCS
    interceptors: Sequence[Any] = field(default_factory=tuple)
    descriptors: Any = None
    """A descriptor pool that knows the services besides protobuf's default one, for reflection."""
    sign: Sign = dict
    """Trailing metadata of the refusal of a method that there is not; the handlers sign what is theirs."""


def bind_host(environment: Mapping[str, str]) -> str:
    """The Pod's own address where the runner gives one, else every address."""
    return environment.get(POD_IP) or every_address()


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a server's coroutine on uvloop; its result is the exit code."""
    return_large_blocks()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


class Servers:
    """Servers that listen. ``start`` binds all ports or none; ``serve`` returns when the process should end."""

    def __init__(self, lifecycle: Lifecycle, shutdown: Shutdown) -> None:
        self.lifecycle = lifecycle
        self.shutdown = shutdown
        self.rest_addresses: list[str] = []
        self.grpc_port: int | None = None
        self._listeners: list[asyncio.Server] = []
        self._handed_on: list[asyncio.Server] = []
        self._runners: list[web.AppRunner] = []
        self._grpc: grpc.aio.Server | None = None
        self._health = Health()

    @classmethod
    async def start(
        cls,
        *,
        rest: Sequence[Rest],
        grpc_half: Grpc | None,
        lifecycle: Lifecycle,
        host: str,
        shutdown: Shutdown | None = None,
        reuse_port: bool = False,
        access_log: bool = False,
    ) -> Self:
        """Bind and accept. Raises BindError, with nothing left listening, when a port is taken."""
        servers = cls(lifecycle, shutdown or Shutdown())
        try:
            for one in rest:
                await servers._start_rest(one, host, reuse_port=reuse_port, access_log=access_log)
            if grpc_half is not None:
                await servers._start_grpc(grpc_half, host, reuse_port=reuse_port)
        except BaseException:
            await servers.stop(0)
            raise
        lifecycle.is_ready = True
        return servers

    async def _start_rest(self, rest: Rest, host: str, *, reuse_port: bool, access_log: bool) -> None:
        runner = web.AppRunner(
            rest.app,
            logger=http_logger,
            access_log=logging.getLogger("aiohttp.access") if access_log and rest.is_logged else None,
            keepalive_timeout=limits.IDLE_TIMEOUT_S,
            lingering_time=limits.LINGERING_S,
            max_line_size=limits.HEADER_LINE_BYTES,
            max_field_size=limits.HEADER_LINE_BYTES,
            shutdown_timeout=self.shutdown.grace_s,
            handler_cancellation=rest.cancels_abandoned,
        )
        await runner.setup()
        self._runners.append(runner)
        sock = rest.listener or _bound(host, rest.port, reuse_port=reuse_port)
        server = runner.server
        if server is None:  # pragma: no cover - setup() made it
            raise RuntimeError("the application runner has no server")

        accept = acceptor(server, render_error=rest.app[RENDER_ERROR], sign=rest.app[SIGN])
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(accept, sock=sock, backlog=limits.ACCEPT_BACKLOG)
        self._listeners.append(listener)
        if rest.listener is not None:
            self._handed_on.append(listener)
        self.rest_addresses.append(str(rest.port) if isinstance(rest.port, Path) else _address(*sock.getsockname()[:2]))

    async def _start_grpc(self, half: Grpc, host: str, *, reuse_port: bool) -> None:
        server = grpc.aio.server(
            interceptors=tuple(half.interceptors),
            options=_grpc_options(half.max_message_bytes, reuse_port=reuse_port),
            maximum_concurrent_rpcs=half.max_calls,
        )
        calls = BoundedCalls(server)
        calls.add_generic_rpc_handlers(tuple(half.handlers))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, calls)
        for name in half.services:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        names = (*half.services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        told = reflection.aio.ReflectionServicer(names, pool=joined_pools(half.descriptors))
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(told, calls)
        calls.add_generic_rpc_handlers((Unknown(half.sign),))  # the last one: whatever none before it knows
        try:
            port = server.add_insecure_port(_address(host, half.port))
        except RuntimeError as exc:
            raise BindError(f"gRPC port {_address(host, half.port)} cannot be bound: is it in use?") from exc
        self._grpc = server
        self.grpc_port = port
        await server.start()

    @property
    def rest_ports(self) -> list[int]:
        """The TCP ports of the applications, in their order."""
        return [int(address.rpartition(":")[2]) for address in self.rest_addresses if not address.startswith("/")]

    async def serve(self, *, outlive: Callable[[], Awaitable[None]] | None = None) -> int:
        """Serve until SIGTERM or SIGINT, then drain and stop; the exit code. The drain ends after ``outlive()``, too."""
        await self.lifecycle.stop_asked.wait()
        logger.info("draining for %g s, then up to %g s for work under way", *self._patience())
        self.lifecycle.start_draining()
        await self._health.enter_graceful_shutdown()
        drain_s = self.shutdown.drain_s
        if self.lifecycle.is_replaced:
            drain_s = max(drain_s, limits.LEAVING_S)
            for (
                listener
            ) in self._handed_on:  # what the kernel has accepted there waits for the one that goes on with it
                listener.close()
        await asyncio.gather(asyncio.sleep(drain_s), *([outlive()] if outlive else ()))
        await self.stop(self.shutdown.grace_s)
        return 0

    def _patience(self) -> tuple[float, float]:
        return self.shutdown.drain_s, self.shutdown.grace_s

    async def stop(self, grace_s: float) -> None:
        """Close the ports, then wait up to ``grace_s`` for the work under way; what is left is cancelled."""
        self.lifecycle.start_draining()
        for listener in self._listeners:
            listener.close()
        stops: list[Coroutine[Any, Any, Any]] = [runner.cleanup() for runner in self._runners]
        if self._grpc is not None:
            self._health.end_watches()
            stops.append(self._grpc.stop(grace_s))
        await asyncio.gather(*stops)


def _bound(host: str, port: int | Path, *, reuse_port: bool) -> socket.socket:
    if not isinstance(port, Path):
        return bound_socket(host, port, reuse_port=reuse_port)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(port))
    except OSError as exc:
        sock.close()
        raise BindError(f"socket {port} cannot be bound: {os.strerror(exc.errno or 0)}") from exc
    sock.setblocking(False)
    return sock


def bound_socket(host: str, port: int, *, reuse_port: bool) -> socket.socket:
    """A bound TCP socket that does not listen yet; BindError names the address that is taken."""
    sock = tcp_socket(host)
    try:
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stalled_ms = int(limits.STALLED_CLIENT_S * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled_ms)  # accepted connections inherit it
        sock.bind((host, port))
    except OSError as exc:
        sock.close()
        raise BindError(f"port {_address(host, port)} cannot be bound: {os.strerror(exc.errno or 0)}") from exc
    return sock


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _grpc_options(max_message_bytes: int, *, reuse_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(reuse_port)),  # on by default: a second server on a taken port would go unnoticed
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_metadata_size", limits.METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", limits.METADATA_BYTES),
        ("grpc.max_connection_idle_ms", int(limits.IDLE_TIMEOUT_S * 1000)),
    ]
