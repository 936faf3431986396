"""SIGHUP starts a component afresh, its code and model loaded anew, in the process that it has (contract §4.1).

It does not listen meanwhile. A supervisor's workers have successors instead (``workers``).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from slipway.serving.lifecycle import Lifecycle

logger = logging.getLogger(__name__)


def hangup_signals() -> tuple[signal.Signals, ...]:
    """SIGHUP; none where the process was started to ignore it (nohup). Asked before handlers are set."""
    return () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)


class Restart:
    """Whether the stop that was asked for is one of SIGHUP's."""

    def __init__(self) -> None:
        self.asked = False
        self.signals = hangup_signals()

    def ask(self, lifecycle: Lifecycle) -> None:
        """Drain and stop the servers, to start again."""
        if not lifecycle.stop_asked.is_set():
            logger.info("SIGHUP: this process starts afresh")
            self.asked = True
            lifecycle.stop_asked.set()


def start_afresh(argv: Sequence[str]) -> NoReturn:
    """This program again, in this process: with the same flags, environment and standard input."""
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, "-m", "slipway.microservice", *argv])  # noqa: S606 - its own argv, no shell
