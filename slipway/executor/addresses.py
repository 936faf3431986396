"""Host names of a graph → addresses: `localhost` means the Pod, Service names come from a hosts file if there is one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

LOG = logging.getLogger(__name__)
REREAD_AFTER_S = 1.0
"""A changed hosts file is noticed within this time."""
MAX_HOSTS_BYTES = 4 * 1024 * 1024


def parse_hosts(text: str) -> dict[str, str]:
    """Name → address of the ``/etc/hosts`` format: address, names, ``#`` comments; the first entry of a name wins."""
    table: dict[str, str] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            table.setdefault(name.lower(), address)
    return table


class Addresses:
    """Looks names up; a name that is in no table is returned as it is, for the system's resolver."""

    def __init__(
        self, *, pod_ip: str = "", hosts_file: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pod_ip = pod_ip
        self._hosts_file = hosts_file
        self._clock = clock
        self._hosts: Mapping[str, str] = {}
        self._stamp: tuple[int, int] | None = None
        self._read_at = float("-inf")

    def resolve(self, host: str) -> str:
        if host == "localhost" and self._pod_ip:
            return self._pod_ip
        if self._hosts_file is not None:
            self._reread(self._hosts_file)
        return self._hosts.get(host.lower(), host)

    def _reread(self, path: Path) -> None:
        now = self._clock()
        if now - self._read_at < REREAD_AFTER_S:
            return
        self._read_at = now
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp == self._stamp:
                return
            with path.open(encoding="utf-8", errors="replace") as file:
                self._hosts = parse_hosts(file.read(MAX_HOSTS_BYTES))
            self._stamp = stamp
        except OSError as error:
            LOG.warning("hosts file %s: %s; the names read before stay", path, error)
