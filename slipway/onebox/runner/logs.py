"""What containers print → log files, through named pipes that neither side has to reopen.

A container holds its pipe for reading and writing, so it never gets SIGPIPE: when the runner dies it writes on into the
pipe's buffer, and the next runner reads from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import sys
import termios
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

MAX_LOG_BYTES = 10 * 1024 * 1024
"""One file; a full one becomes ``<name>.1``, and the one before that goes."""
MAX_LINE_BYTES = 64 * 1024
"""A longer line is cut into several."""
PIPE_BYTES = 256 * 1024
"""What a container can print while no runner reads."""
READ_BYTES = 64 * 1024
KEPT_RUNS = 2
"""Logs of this many runs of a container stay: the current one and the one before."""
TAIL_LINES, TAIL_BYTES = 80, 2048
"""How much of the output a container's termination message may hold, as on a kubelet."""
F_SETPIPE_SZ = 1031
LOG_NAME = re.compile(r"([0-9]{1,18})\.log(\.1)?")

logger = logging.getLogger(__name__)


class LogFile:
    """Appends ``<RFC 3339 time> stdout|stderr F <text>`` lines."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._clock = clock
        self._stream = path.open("ab", buffering=0)
        self._size = self._stream.tell()
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._is_failing = False

    def write(self, stream: str, lines: list[bytes]) -> None:
        self._tail.extend(line[-TAIL_BYTES:] for line in lines)
        stamp = self._clock().strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        text = b"".join(f"{stamp} {stream} F ".encode() + line + b"\n" for line in lines)
        try:
            self._append(text)
        except OSError as exc:  # a full disk must not end what prints: these lines are lost
            if not self._is_failing:
                logger.warning("%s: lines are lost until it can be written again: %s", self.path, exc)
            self._is_failing = True
        else:
            self._is_failing = False

    def _append(self, text: bytes) -> None:
        if self._size and self._size + len(text) > MAX_LOG_BYTES:
            with contextlib.suppress(FileNotFoundError):
                self.path.replace(self.path.with_name(self.path.name + ".1"))
            stream = self.path.open("ab", buffering=0)
            self._stream.close()
            self._stream, self._size = stream, 0
        self._size += self._stream.write(text) or 0

    @property
    def tail(self) -> str:
        """The last lines, without their times."""
        return b"\n".join(self._tail)[-TAIL_BYTES:].decode(errors="replace")

    def close(self) -> None:
        self._stream.close()


class PipeReader:
    """Reads one pipe into a log for as long as the container lives."""

    def __init__(self, path: Path, *, stream: str, log: LogFile) -> None:
        self.path = path
        self._stream = stream
        self._log = log
        self._rest = b""
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(PermissionError):  # the user's allowance of pipe memory is spent: 64 KiB then
            fcntl.fcntl(self._fd, F_SETPIPE_SZ, PIPE_BYTES)
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def writer(self) -> int:
        """A descriptor for the container; the caller closes its copy once the container has it."""
        return os.open(self.path, os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """Take what is in it by now, then forget the pipe: whoever holds it may print for ever."""
        left = _waiting_bytes(self._fd)
        while left > 0 and (taken := self._read()):
            left -= taken
        if self._rest:
            self._log.write(self._stream, [self._rest])
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> int:
        """How many bytes were there to be read."""
        try:
            chunk = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return 0
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        while len(self._rest) > MAX_LINE_BYTES:
            lines.append(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]
        if lines:
            self._log.write(self._stream, lines)
        return len(chunk)


class Output:
    """The log and the two pipes of one run of a container."""

    def __init__(self, log: Path, *, pipes: Path, is_new: bool) -> None:
        """``pipes``: the common start of the pipes' paths. ``is_new``: the run begins, and has pipes of its own.

        What an earlier run left behind still holds that one's, which nobody reads: it stands still once they are full.
        """
        self._log = LogFile(log)
        self._readers: list[PipeReader] = []
        try:
            for stream in ("stdout", "stderr"):
                path = pipes.with_name(f"{pipes.name}.{stream}")
                if is_new:
                    path.unlink(missing_ok=True)
                self._readers.append(PipeReader(path, stream=stream, log=self._log))
        except OSError:
            self.close()
            raise
        _forget_old(log)

    @contextlib.contextmanager
    def writers(self) -> Iterator[tuple[int, int]]:
        """Descriptors for a container that is being started; it has copies of its own afterwards."""
        stdout, stderr = (reader.writer() for reader in self._readers)
        try:
            yield stdout, stderr
        finally:
            os.close(stdout)
            os.close(stderr)

    def close(self) -> str:
        """The last lines that were printed."""
        for reader in self._readers:
            reader.close()
        self._log.close()
        return self._log.tail


def _waiting_bytes(pipe: int) -> int:
    found = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(found, sys.byteorder)


def _forget_old(log: Path) -> None:
    """Only what a run of a container wrote: another file in this folder is somebody's, and says nothing to us."""
    newest = int(log.name.partition(".")[0])
    for old in log.parent.iterdir():
        named = LOG_NAME.fullmatch(old.name)
        if named and int(named[1]) <= newest - KEPT_RUNS:
            try:
                old.unlink(missing_ok=True)
            except OSError as exc:
                logger.warning("an old log stays: %s", exc)
