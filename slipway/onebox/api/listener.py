"""One port for HTTP and HTTPS: kubectl sends its token over TLS only, everything else on this machine may do without.

The first byte tells: 0x16 opens a TLS handshake. The certificate is made here, for loopback names only.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slipway.onebox.api.connections import Connection

TLS_HANDSHAKE = 0x16
FIRST_BYTE_TIMEOUT_S = 30.0
FIRST_REQUEST_TIMEOUT_S = 30.0
"""From the first byte to the end of the first request's headers; the server's keep-alive bounds later requests."""
MAX_CONNECTIONS = 2048
"""For a further one the one that has asked nothing for longest is closed."""
FEW_CONNECTIONS = 64
"""So many may have ended without anybody looking."""
BACKLOG = 128
CERTIFICATE_DAYS = 3650
ACCEPT_PAUSE_S = 0.2
log = logging.getLogger(__name__)


def connections_of(files: int) -> int:
    """How many there may be in a process of so many descriptors: one that follows a log takes a second one."""
    return min(MAX_CONNECTIONS, files // 2)


def ensure_certificate(folder: Path) -> tuple[Path, Path]:
    """``api.crt`` and ``api.key`` in ``folder``, made when they are not there; clients trust the former as their CA."""
    certificate, key = folder / "api.crt", folder / "api.key"
    if certificate.exists() and key.exists():
        return certificate, key
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "slipway-api")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ("127.0.0.1", "::1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key, pem, mode=0o600)
    _write(certificate, signed.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return certificate, key


def _write(path: Path, content: bytes, *, mode: int) -> None:
    temporary = path.with_suffix(path.suffix + ".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)


class Listener:
    """Accepts connections on ``host:port`` and hands each to a protocol, through TLS where the client begins so."""

    def __init__(self, *, certificate: Path, key: Path, max_connections: int = MAX_CONNECTIONS) -> None:
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._max_connections = max_connections
        self._silent: dict[asyncio.BaseProtocol, tuple[float, Callable[[], object]]] = {}
        """No whole request came from these, in the order in which they came: when, and what ends each."""
        self._cuts: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        self._open: dict[Connection, asyncio.Transport] = {}
        self._look_at = FEW_CONNECTIONS

    def heard(self, protocol: asyncio.BaseProtocol) -> None:
        """A whole request came from this connection: it is not cut."""
        self._silent.pop(protocol, None)
        if cut := self._cuts.pop(protocol, None):
            cut.cancel()

    def _cut(self, protocol: Connection) -> None:
        self.heard(protocol)
        log.debug("no request within %s s", FIRST_REQUEST_TIMEOUT_S)
        self._open[protocol].close()

    def start(self, host: str, port: int, factory: Callable[[], Connection]) -> tuple[str, int]:
        """Bind, accept, and give each connection a protocol of ``factory``; the bound address. OSError where the port is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host.strip("[]"), port))
            listening.listen(BACKLOG)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
        self._socket = listening
        self._spawn(self._accept(listening, factory))
        address = listening.getsockname()
        return str(address[0]), int(address[1])

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listening: socket.socket, factory: Callable[[], Connection]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as exc:  # no file descriptor left: wait for one
                log.warning("accept: %s", exc)
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            if not self._make_room():
                log.warning("connection closed: %d are open and at work, the limit", self._max_connections)
                connection.close()
                continue
            protocol = factory()
            greeting = self._spawn(self._greet(connection, protocol))
            self._silent[protocol] = loop.time(), greeting.cancel

    def _make_room(self) -> bool:
        """For one more: where all are taken, one that asks nothing is ended for it. False where each is at work."""
        if self._is_full or len(self._open) >= self._look_at:
            self._forget_ended()
        return not self._is_full or self._end_idle()

    @property
    def _is_full(self) -> bool:
        return len(self._tasks) + len(self._open) > self._max_connections

    def _end_idle(self) -> bool:
        """The one that has asked nothing for longest. False where there is none."""
        silent = [(since_s, one, end) for one, (since_s, end) in islice(self._silent.items(), 1)]
        asked = [
            (since_s, one, transport.abort)
            for one, transport in self._open.items()
            if one not in self._silent and (since_s := one.idle_since_s) is not None
        ]
        if not silent and not asked:
            return False
        _, oldest, end = min([*silent, *asked], key=itemgetter(0))
        self.heard(oldest)
        end()
        return True

    def _forget_ended(self) -> None:
        """Each takes some 50 kB with TLS; they are looked for whenever they may be half of all."""
        for protocol in [protocol for protocol, transport in self._open.items() if transport.is_closing()]:
            del self._open[protocol]
            self.heard(protocol)
        self._look_at = max(FEW_CONNECTIONS, 2 * len(self._open))

    async def _greet(self, connection: socket.socket, protocol: Connection) -> None:
        """Look at the first byte without taking it, then hand the connection over."""
        loop = asyncio.get_running_loop()
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(FIRST_BYTE_TIMEOUT_S):
                first = await _peek(loop, connection)
            if not first:
                self._silent.pop(protocol, None)
                connection.close()
                return
            tls = self._tls if first[0] == TLS_HANDSHAKE else None
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
            self._open[protocol] = transport
            if protocol in self._silent:
                self._silent[protocol] = self._silent[protocol][0], transport.abort
                self._cuts[protocol] = loop.call_later(FIRST_REQUEST_TIMEOUT_S, self._cut, protocol)
        except (OSError, TimeoutError) as exc:  # ssl.SSLError is an OSError
            log.debug("connection refused: %s", exc)
            self._silent.pop(protocol, None)
            connection.close()
        except asyncio.CancelledError:
            self._silent.pop(protocol, None)
            connection.close()
            raise


async def _peek(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, _ready, readable)
    try:
        await readable
    finally:
        loop.remove_reader(connection)
    return connection.recv(1, socket.MSG_PEEK)


def _ready(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
