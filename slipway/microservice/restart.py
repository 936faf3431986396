"""SIGHUP starts a component afresh, its code and model loaded anew, in the process that it has (contract §4.1).

A process of its own does not listen meanwhile; of several workers all but one do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from slipway.serving.lifecycle import Lifecycle

RESTART_WAIT_S = 120.0
"""A supervisor waits so long for a worker to serve again before it restarts the next one."""
POLL_S = 0.1

logger = logging.getLogger(__name__)


def hangup_signals() -> tuple[signal.Signals, ...]:
    """SIGHUP; none where the process was started to ignore it (nohup). Asked before handlers are set."""
    return () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)


class Restart:
    """Whether the stop that was asked for is one of SIGHUP's. ``has_others``: workers that listen on its ports meanwhile."""

    def __init__(self, *, has_others: bool = False) -> None:
        self.asked = False
        self._has_others = has_others
        self.signals = hangup_signals()

    def ask(self, lifecycle: Lifecycle) -> None:
        """Drain and stop the servers, to start again."""
        if not lifecycle.stop_asked.is_set():
            logger.info("SIGHUP: this process starts afresh")
            self.asked = True
            lifecycle.is_replaced = self._has_others
            lifecycle.stop_asked.set()


def start_afresh(argv: Sequence[str], *, metrics_socket: Path | None) -> NoReturn:
    """This program again, in this process: with the same flags, environment and standard input."""
    if metrics_socket is not None:
        metrics_socket.unlink(missing_ok=True)
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, "-m", "slipway.microservice", *argv])  # noqa: S606 - its own argv, no shell


class Workers:
    """The running workers of a supervisor, which restarts them one after the other when it gets SIGHUP."""

    def __init__(self) -> None:
        self.running: dict[int, tuple[Path, asyncio.subprocess.Process]] = {}
        """Number → metrics socket and process."""
        self._restarting: asyncio.Task[None] | None = None

    def on_hangup(self) -> None:
        def ask() -> None:
            if self._restarting is None or self._restarting.done():
                self._restarting = asyncio.get_running_loop().create_task(restart_in_turn(list(self.running.values())))

        for number in hangup_signals():
            asyncio.get_running_loop().add_signal_handler(number, ask)


async def restart_in_turn(workers: Sequence[tuple[Path, asyncio.subprocess.Process]]) -> None:
    """SIGHUP to each worker, when the one before it serves again: its metrics socket goes, and comes back."""
    for path, process in workers:
        if process.returncode is not None:
            continue
        before = _identity(path)
        process.send_signal(signal.SIGHUP)
        try:
            async with asyncio.timeout(RESTART_WAIT_S):
                while _identity(path) in (None, before):  # noqa: ASYNC110 - files set no event
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            logger.warning("pid %d does not serve again after %g s", process.pid, RESTART_WAIT_S)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file ``path`` is; a file system may give a new one the inode number of one that is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns
