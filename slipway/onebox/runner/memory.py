"""Memory of containers by PSS: shared pages are counted once, which an address-space limit could not do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from slipway.onebox.runner.process import sessions


def used_bytes(leaders: Iterable[int]) -> dict[int, int]:
    """Leader of a session → PSS of all its processes; those that end meanwhile count nothing."""
    wanted = set(leaders)
    if not wanted:
        return {}
    members = sessions()
    return {leader: sum(_pss(pid) for pid in members.get(leader, ())) for leader in wanted}


def parse_pss(text: str) -> int:
    """The ``Pss:`` line of /proc/PID/smaps_rollup (kB), in bytes. ValueError where there is none."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Pss line")


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return parse_pss(text) if text else 0
