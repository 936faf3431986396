"""Where a server listens that nobody gave an address: everywhere, over IPv6 and IPv4 at once where there is IPv6.

A cluster may have Pods with an address of either kind only; a socket of `::` that is not IPv6 alone takes both (ipv6(7)).
"""

from __future__ import annotations

import socket

EVERY_IPV4, EVERY = "0.0.0.0", "::"


def every_address() -> str:
    """``::``, or ``0.0.0.0`` where a socket cannot have both families."""
    try:
        with tcp_socket(EVERY) as sock:
            sock.bind((EVERY, 0))
    except OSError:
        return EVERY_IPV4
    return EVERY


def tcp_socket(host: str) -> socket.socket:
    """A socket that can be bound to ``host``, an address; OSError where the machine has no such family."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def bound(host: str, port: int) -> socket.socket:
    """For ``create_server(sock=…)``, which by host would make a socket of IPv6 alone. OSError where the port is taken."""
    sock = tcp_socket(host)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
