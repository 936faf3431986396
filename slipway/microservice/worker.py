"""A worker process of several: the port that it is handed, and the line to its supervisor, its standard input, a socket.

The worker says when it serves and when it has had its requests; the supervisor says when to leave, and hangs up to stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.serving.lifecycle import Lifecycle

NUMBER = "SLIPWAY_WORKER"
METRICS_SOCKET = "SLIPWAY_WORKER_METRICS"
LISTENER = "SLIPWAY_WORKER_LISTENER"
SERVES, SPENT = b"s", b"r"
"""A worker's words: it serves; it asks for a successor."""
LEAVE = b"l"
"""The supervisor's: a successor serves, its connections are to end."""
WORDS = 64
"""Bytes that are read at a time."""


@dataclass(frozen=True)
class Worker:
    """What a worker process knows of itself."""

    number: str
    metrics_socket: Path
    descriptor: int
    """Of the REST port's socket."""

    def listener(self) -> socket.socket:
        """The REST port's socket, which the supervisor has too, and hands to this one's successor: once only."""
        found = socket.socket(fileno=self.descriptor)
        found.set_inheritable(False)  # a process of the component that outlives this one would keep the port
        return found

    def stop_with_supervisor(self, lifecycle: Lifecycle) -> None:
        """Stop when the supervisor says so, or ends, also by SIGKILL."""

        def heard() -> None:
            if LEAVE in (said := os.read(0, WORDS)):
                lifecycle.is_replaced = True
            if not said:
                asyncio.get_running_loop().remove_reader(0)
            lifecycle.stop_asked.set()

        asyncio.get_running_loop().add_reader(0, heard)

    def say(self, word: bytes) -> None:
        """To the supervisor. One that is gone is noticed where it is heard."""
        with contextlib.suppress(OSError):
            os.write(0, word)


def this_worker(environment: Mapping[str, str]) -> Worker | None:
    """The worker that this process is; None for a process of its own and for the supervisor."""
    number = environment.get(NUMBER)
    if not number:
        return None
    return Worker(number, Path(environment[METRICS_SOCKET]), int(environment[LISTENER]))
