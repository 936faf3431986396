"""The decoder process: photos on standard input, pixels on standard output, until either closes.

It may be killed at any moment: it holds nothing. Its limits are set before the first untrusted byte is read. When its
parent goes, its input ends, and a photo that it still works on has its limit of processor time. (A signal at the parent's
death would come when the parent's *thread* that started it ends.)
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
from typing import BinaryIO

import cv2

from model_wrappers.intake.decode import prepare
from model_wrappers.intake.errors import PhotoError
from model_wrappers.intake.request import HEAD_BYTES, MAX_SENTENCE_BYTES, READY, REPLY, Preparation

MAX_MEMORY_BYTES = 2 * 1024**3  # address space: a 50-megapixel photo takes about 0.6 GB on its way
RETIRE_ABOVE_BYTES = 160 * 1024**2  # resident: after a large photo a fresh process takes over
MAX_CPU_S = 3  # of one photo: the pool gives up sooner, but may be gone
PR_SET_NO_NEW_PRIVS = 38


def main() -> int:
    _confine()
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a codec prints must not reach the pipe
    sink.write(READY)
    sink.flush()
    while head := source.read(HEAD_BYTES):
        if len(head) < HEAD_BYTES:
            return 0
        photo_bytes, preparation = Preparation.unpack(head)
        _allow_cpu(MAX_CPU_S)
        retires = _answer(source.read(photo_bytes), preparation, sink)
        sink.flush()
        if retires:
            return 0
    return 0


def _answer(photo: bytes, preparation: Preparation, sink: BinaryIO) -> bool:
    """Whether this photo was the last: the answer says so, lest the next one is sent here."""
    try:
        (width, height), pixels = prepare(photo, preparation)
    except PhotoError as exc:
        return _refuse(str(exc), sink)
    except MemoryError:
        return _refuse(f"The photo needs more than {MAX_MEMORY_BYTES >> 20} MiB to decode.", sink)
    retires = _resident_bytes() > RETIRE_ABOVE_BYTES
    sink.write(REPLY.pack(True, retires, width, height, pixels.shape[1], pixels.shape[0]))
    sink.write(pixels.data)
    return retires


def _refuse(sentence: str, sink: BinaryIO) -> bool:
    encoded, retires = sentence.encode()[:MAX_SENTENCE_BYTES], _resident_bytes() > RETIRE_ABOVE_BYTES
    sink.write(REPLY.pack(False, retires, len(encoded), 0, 0, 0) + encoded)
    return retires


def _confine() -> None:
    """No file is written, no core, no new privileges; bounded memory.

    Signals that ask the container to end reach the whole group: its server finishes the photos that it has taken, and
    then closes our input. Ended here, a photo under way would be refused as one that cannot be decoded.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    for limit, value in (
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _allow_cpu(seconds: int) -> None:
    """The kernel ends the process (SIGXCPU) that needs more from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    limit = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit if most < 0 else min(limit, most), most))


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  - per photo: no Path machinery
        return int(file.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())
