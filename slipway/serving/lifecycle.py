"""What a server says of itself to probes: starting, ready, draining."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field

from slipway.serving.limits import DRAIN_S, GRACE_S


@dataclass(frozen=True)
class Shutdown:
    """How a server ends: seconds of not-ready but serving, then seconds for the work under way."""

    drain_s: float = DRAIN_S
    grace_s: float = GRACE_S


@dataclass
class Lifecycle:
    """The one changing flag of a server; changed on the event loop only."""

    is_ready: bool = False
    is_draining: bool = False
    is_replaced: bool = False
    """Another process goes on with the listeners that were handed to this one: what comes from now on is its."""
    stop_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def start_draining(self) -> None:
        """From now on probes hear "not ready"; requests are still answered, their connections closed after it."""
        self.is_ready = False
        self.is_draining = True

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT ask for a stop; a second one ends the process at once with the signal's own exit status."""
        loop = asyncio.get_running_loop()

        def asked(number: signal.Signals) -> None:
            if self.stop_asked.is_set():
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self.stop_asked.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked, number)
