"""How a listener leaves a port that others listen on, too (SO_REUSEPORT): no connection is lost on the way.

What the kernel accepts between the last ``accept`` and ``close`` would be reset. So it first drops whatever begins a
connection to this listener: a client's kernel sends that again a second later, and it meets one that has stayed.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import socket
import struct

SO_ATTACH_FILTER = 26
"""asm-generic/socket.h; Python has no name for it."""
FLAGS_AT, SYN, SYN_OR_ACK = 13, 0x02, 0x12
"""Where a TCP header has its flags, and the two that tell the first segment of a connection (RFC 9293, section 3.1)."""
DROP, WHOLE = 0, 0xFFFFFFFF
NO_BEGINNINGS = (
    (0x30, 0, 0, FLAGS_AT),  # BPF_LD | BPF_B | BPF_ABS
    (0x54, 0, 0, SYN_OR_ACK),  # BPF_ALU | BPF_AND
    (0x15, 0, 1, SYN),  # BPF_JMP | BPF_JEQ: the next step where it is one, else the step after that
    (0x06, 0, 0, DROP),  # BPF_RET
    (0x06, 0, 0, WHOLE),
)
"""A classic BPF program (linux/filter.h): code, steps to skip where it holds, where it does not, operand."""

logger = logging.getLogger(__name__)


def turn_away(listener: socket.socket) -> None:
    """From now on no connection begins here. Those whose beginning has been taken already come through."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in NO_BEGINNINGS))
    described = struct.pack("HP", len(NO_BEGINNINGS), ctypes.addressof(program))
    try:
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
    except OSError as exc:
        logger.info("this kernel takes no filter (%s): a connection that comes at this moment may be reset", exc)


def accepted(listener: socket.socket) -> list[socket.socket]:
    """Every connection that waits at a listener that does not block."""
    waiting: list[socket.socket] = []
    with contextlib.suppress(OSError):  # BlockingIOError: no more
        while True:
            waiting.append(listener.accept()[0])
    return waiting
