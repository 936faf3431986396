"""A file that is one: a pipe may never say anything, and a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path) -> BufferedReader:
    """Open for reading, without waiting. Raises ``OSError``; ``strerror`` is ``is no regular file`` for what is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))


def read_start(path: Path, size_bytes: int) -> bytes:
    """The first ``size_bytes`` of a file, or all of a shorter one. Raises ``OSError`` as ``open_regular`` does."""
    with open_regular(path) as file:
        return file.read(size_bytes)
