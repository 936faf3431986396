"""Ends the largest process of a hub user's server that uses more memory than it may; the hub runs this as a service."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services.hub.belongings import processes_of
from slipway.onebox.services.hub.running import Running, load_running
from slipway.onebox.supervisor.procfs import Identity, identify, pss_bytes

EVERY_S = 2.0
GIB = 1 << 30


@dataclass(frozen=True)
class Usage:
    """One process of a server: its proportional set size."""

    process: Identity
    pss_bytes: int


def choose(usages: Collection[Usage], *, allowed_bytes: int) -> Usage | None:
    """The process to end, if any: the largest but the oldest, which is JupyterLab itself; a kernel is started anew.

    ``allowed_bytes`` 0 allows everything.
    """
    if not allowed_bytes or sum(usage.pss_bytes for usage in usages) <= allowed_bytes:
        return None
    oldest = min(usages, key=lambda usage: (usage.process.start_ticks, usage.process.pid))
    others = [usage for usage in usages if usage is not oldest and usage.pss_bytes]
    largest = max(others, key=lambda usage: usage.pss_bytes, default=oldest)
    return oldest if oldest.pss_bytes > allowed_bytes else largest


def look(paths: Paths, running: Running) -> str:
    """Measure one server and act; what was done, or nothing."""
    if not running.memory_bytes:
        return ""
    processes = [found for pid in processes_of(paths, running.name) if (found := identify(pid)) is not None]
    usages = [Usage(process, pss_bytes(process.pid)) for process in processes]
    chosen = choose(usages, allowed_bytes=running.memory_bytes)
    if chosen is None:
        return ""
    _kill(chosen.process)
    total = sum(usage.pss_bytes for usage in usages)
    return (
        f"{running.name}: the server uses {total / GIB:.2f} GiB and may use {running.memory_bytes / GIB:.2f} GiB: "
        f"ended its process {chosen.process.pid}, which had {chosen.pss_bytes / GIB:.2f} GiB"
    )


def _kill(process: Identity) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process.pid)
        try:
            if process.is_alive:  # checked after the descriptor is held: no reuse can slip in between
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def main() -> int:
    """Watch the memory of the hub users' servers until ended."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.hub.watch", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    paths = Paths(parser.parse_args().home.absolute())
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # how the hub ends its services: without a traceback in its log
    while True:
        for running in load_running(paths):
            if said := look(paths, running):
                print(said, flush=True)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    sys.exit(main())
