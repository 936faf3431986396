"""What /proc tells about processes: identity across pid reuse, memory, command lines, and who listens on a port."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from slipway.onebox.supervisor.process_stat import PROC, read_stat

LISTEN = "0A"  # the kernel's number for TCP_LISTEN in /proc/net/tcp
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
COMMAND_SHOWN = 120  # characters of a foreign command line in an error


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same pid (or after a reboot)."""

    pid: int
    start_ticks: int  # clock ticks after boot, field 22 of /proc/PID/stat
    boot: str

    @property
    def is_alive(self) -> bool:
        """Whether that very process still runs; a zombie does not."""
        found = read_stat(self.pid)
        is_same = found is not None and found.is_alive and found.start_ticks == self.start_ticks
        return is_same and self.boot == boot_id()

    @property
    def age_s(self) -> float:
        """Seconds since it started."""
        uptime_s = float((PROC / "uptime").read_text().split()[0])
        return uptime_s - self.start_ticks / TICKS_PER_S


@cache
def boot_id() -> str:
    """Start times are counted from boot: identities of another boot mean nothing."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """The identity of a running process; None when there is none with that pid."""
    found = read_stat(pid)
    return Identity(pid, found.start_ticks, boot_id()) if found is not None and found.is_alive else None


def pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def command_line(pid: int) -> str:
    """The command line with spaces; empty when the process is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def descendants(pid: int) -> set[int]:
    """The process and all its living descendants."""
    return process_trees([pid])[pid]


def process_trees(roots: Iterable[int]) -> dict[int, set[int]]:
    """Each process with all its living descendants, found in one pass."""
    children: dict[int, list[int]] = {}
    for other in pids():
        if (found := read_stat(other)) is not None:
            children.setdefault(found.parent, []).append(other)
    return {root: _tree(root, children) for root in roots}


def _tree(root: int, children: Mapping[int, list[int]]) -> set[int]:
    found, queue = set(), [root]
    while queue:
        current = queue.pop()
        found.add(current)
        queue += [child for child in children.get(current, []) if child not in found]
    return found


def cpu_seconds(pid: int) -> float:
    """Of a process and its children that ended, user and system, since it began; 0 when it is gone."""
    found = read_stat(pid)
    return found.cpu_ticks / TICKS_PER_S if found is not None else 0.0


def pss_bytes(pid: int) -> int:
    """Proportional set size: private pages plus this process's share of the shared ones; 0 when it is gone."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _listening() -> Iterator[tuple[ipaddress.IPv4Address, int, str]]:
    """Address, port and socket inode of everything that listens."""
    for line in (PROC / "net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTEN:
            address, _, port = fields[1].partition(":")
            packed = bytes.fromhex(address)[::-1]  # little-endian machines print it reversed
            yield ipaddress.IPv4Address(packed), int(port, 16), fields[9]


def listeners(host: str, port: int) -> list[int | None]:
    """Pids that listen on a port at ``host`` or at every address; None is one whose files we may not read."""
    wanted = {ipaddress.IPv4Address(host), ipaddress.IPv4Address("0.0.0.0")}
    return _owners({inode for address, number, inode in _listening() if address in wanted and number == port})


def listeners_in(network: ipaddress.IPv4Network) -> list[int | None]:
    """Pids that listen at addresses of ``network``; None as above."""
    return _owners({inode for address, _, inode in _listening() if address in network})


def _owners(inodes: set[str]) -> list[int | None]:
    if not inodes:
        return []
    owners: list[int | None] = [pid for pid in pids() if _holds(pid, inodes)]
    return owners or [None]


def _holds(pid: int, inodes: set[str]) -> bool:
    links = {f"socket:[{inode}]" for inode in inodes}
    try:
        descriptors = list((PROC / str(pid) / "fd").iterdir())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # closed while we look
            if str(descriptor.readlink()) in links:
                return True
    return False


def describe_owner(pid: int | None) -> str:
    """``pid 4711 (python -m http.server)``, for the error about a taken port."""
    if pid is None:
        return "a process of another user"
    return f"pid {pid} ({command_line(pid)[:COMMAND_SHOWN] or 'gone meanwhile'})"
