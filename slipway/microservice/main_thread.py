"""The main thread is the component's, as in Seldon's wrapper: the servers have their event loop in a thread beside it.

What a class opens in ``__init__`` may be of its thread alone (sqlite3), an event loop is found by ``get_event_loop`` in the
main thread only, and so are signals set. Those of the process reach the servers also while the component computes:
CPython writes each one's number to a socket as it comes (``signal.set_wakeup_fd``).
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping

from slipway.microservice.threads import ComponentThreads, Raised, outcome_of, result_of

READ_BYTES = 64
Handlers = Mapping[signal.Signals, Callable[[], None]]
Hear = Callable[[Handlers], None]
"""From now on the handlers are called in the running event loop."""

logger = logging.getLogger(__name__)


def serve_beside(serving: Callable[[], int], threads: ComponentThreads) -> int:
    """``serving()`` in a thread of its own, while this one is the first of ``threads``; its result, or what it raises."""
    outcomes: list[int | Raised] = []

    def serve() -> None:
        outcome = outcome_of(serving)
        if isinstance(outcome, Raised) and threads.busy:  # this thread's end would leave the other's code alone
            logger.error("the servers ended", exc_info=outcome.error)
            logging.shutdown()
            os._exit(1)
        outcomes.append(outcome)
        threads.close()

    servers = threading.Thread(target=serve, name="servers", daemon=True)
    servers.start()
    threads.work()
    servers.join()
    outcome = outcomes[0]
    if isinstance(outcome, Raised) and outcome.error is not None:
        raise outcome.error
    return result_of(outcome)


def heard_signals(*numbers: signal.Signals) -> Hear:
    """In the main thread: those signals do nothing from now on, but wait for the event loop of another thread."""
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    for number in numbers:
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(writing.detach(), warn_on_full_buffer=False)

    def hear(handlers: Handlers) -> None:
        def read() -> None:
            for number in reading.recv(READ_BYTES):  # also those that the component set itself
                if number in handlers:
                    handlers[signal.Signals(number)]()

        asyncio.get_running_loop().add_reader(reading, read)

    return hear


def hear_in_loop(handlers: Handlers) -> None:
    """Where the event loop is the main thread's."""
    for number, handler in handlers.items():
        asyncio.get_running_loop().add_signal_handler(number, handler)


def end_by(number: signal.Signals) -> None:
    """This process ends at once, by the signal; from any thread, which ``signal.signal`` does not allow."""
    restore = ctypes.CDLL(None).signal
    restore.argtypes, restore.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    restore(number, None)  # SIG_DFL
    os.kill(os.getpid(), number)
