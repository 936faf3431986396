"""Ports that nobody listens on, and that no outgoing connection takes before they are used."""

from __future__ import annotations

import contextlib
import random
import socket
from collections import deque

from slipway.onebox.mesh.gateways import port_here

LOWEST, BEHIND = 20_000, 32_768
"""From 32768 on the kernel gives ports to outgoing connections: a free one of those may be taken a moment later."""
_drawn: deque[int] = deque(maxlen=1000)
"""Not drawn again soon: one that nobody listens on yet looks free to the next who asks."""


def free_ports(count: int) -> list[int]:
    """``count`` different ones, free on every address: all are held until the last is known."""
    chance = random.SystemRandom()
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        while len(sockets) < count:
            port = chance.randrange(LOWEST, BEHIND)
            if port in _drawn:
                continue
            with contextlib.suppress(OSError):  # taken: the next one
                sockets.append(stack.enter_context(socket.create_server(("", port))))
                _drawn.append(port)
        return [one.getsockname()[1] for one in sockets]


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def free_gateway_port() -> int:
    """For a gateway of one machine: the port at which it serves HTTPS is free as well."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.create_server(("", port_here(443, port))):
            return port
