"""Memory of containers by PSS: shared pages are counted once, which an address-space limit could not do."""

from __future__ import annotations

from pathlib import Path

from slipway.onebox.runner.process import session_members


def used_bytes(leader: int) -> int:
    """PSS of every process of the session that ``leader`` leads; those that end meanwhile count nothing."""
    return sum(_pss(pid) for pid in session_members(leader))


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
