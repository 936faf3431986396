"""What the kernel says of one process in /proc/PID/stat: proc_pid_stat(5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_STATE, _PARENT, _SESSION, _START = 0, 1, 3, 19
_CPU = slice(11, 15)
_ENVIRONMENT = slice(47, 49)
"""Places, counted from 0 after the command."""
_ENDED = frozenset("ZX")


@dataclass(frozen=True)
class ProcessStat:
    """``start_ticks``: clock ticks after boot. ``cpu_ticks``: utime, stime and those of children that were waited for.

    ``environment``: where it begins and ends in memory; 0 where others may not know.
    """

    state: str
    parent: int
    session: int
    start_ticks: int
    cpu_ticks: int
    environment: tuple[int, int]

    @property
    def is_alive(self) -> bool:
        """A zombie is not."""
        return self.state not in _ENDED


def read_stat(pid: int) -> ProcessStat | None:
    """None where there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return parse_stat(text)


def parse_stat(text: str) -> ProcessStat:
    fields = text.rpartition(")")[2].split()  # the name in brackets may hold spaces and brackets
    begin, end = map(int, fields[_ENVIRONMENT])
    return ProcessStat(
        state=fields[_STATE],
        parent=int(fields[_PARENT]),
        session=int(fields[_SESSION]),
        start_ticks=int(fields[_START]),
        cpu_ticks=sum(map(int, fields[_CPU])),
        environment=(begin, end),
    )
