"""Addresses of Pods: each its own in 127.16.0.0/12, claimed for the whole machine while its runner lives."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import socket
from collections.abc import Collection, Iterator

NETWORK = ipaddress.ip_network("127.16.0.0/12")
MAX_TRIES = 256


class NoAddress(Exception):
    """No address has the wanted ports free; the message names the port."""


class Addresses:
    """Claims are abstract Unix sockets: the kernel frees them when the runner ends, and other users' runners see them."""

    def __init__(self, seed: str) -> None:
        self._start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % NETWORK.num_addresses
        self._claims: dict[str, socket.socket] = {}

    def claim(self, *, ports: Collection[int], wanted: str = "", is_running: bool = False) -> str:
        """An address on which ``ports`` are free; ``wanted`` again if it still can be had.

        With ``is_running`` a Pod lives there already: its address is kept, whoever has claimed it meanwhile.
        """
        if (
            wanted
            and (wanted in self._claims or self._take(wanted) or is_running)
            and (is_running or not _taken(wanted, ports))
        ):
            return wanted
        self.release(wanted)
        busy: set[int] = set()
        for address in self._candidates():
            if not self._take(address):
                continue
            taken = _taken(address, ports)
            if not taken:
                return address
            busy |= taken
            self.release(address)
        raise NoAddress(
            f"no Pod address has port {', '.join(map(str, sorted(busy)))} free: another program listens on it on all addresses"
        )

    def release(self, address: str) -> None:
        claim = self._claims.pop(address, None)
        if claim is not None:
            claim.close()

    def close(self) -> None:
        for address in list(self._claims):
            self.release(address)

    def _candidates(self) -> Iterator[str]:
        found = 0
        for step in range(NETWORK.num_addresses):
            address = NETWORK[(self._start + step) % NETWORK.num_addresses]
            if int(address) & 0xFF in (0, 255) or str(address) in self._claims:
                continue
            found += 1
            if found > MAX_TRIES:
                return
            yield str(address)

    def _take(self, address: str) -> bool:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0slipway/pod-address/{address}")
        except OSError as exc:
            claim.close()
            if exc.errno != errno.EADDRINUSE:
                raise
            return False
        self._claims[address] = claim
        return True


def _taken(address: str, ports: Collection[int]) -> set[int]:
    return {port for port in ports if not _is_free(address, port)}


def _is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT do not count
        try:
            trial.bind((address, port))
        except OSError as exc:
            if exc.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
