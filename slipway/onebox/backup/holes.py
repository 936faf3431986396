"""Holes of sparse files: bytes that a file counts and no disk holds. A backup has them as zeros, a restore writes them.

One command of a hub user makes a file of 10 TB that is one hole; so what is kept of each owner has a bound.
"""

from __future__ import annotations

import errno
import os

MAX_HOLES_BYTES = 1 << 30
"""Of all files of one owner: a hub user's home, a volume, an environment."""
STAT_BLOCK_BYTES = 512
"""Of st_blocks, whatever the file system's own are: stat(2)."""


def is_sparse(info: os.stat_result) -> bool:
    """Whether it takes less room than it counts: by holes, or because the file system compresses."""
    return info.st_blocks * STAT_BLOCK_BYTES < info.st_size


def hole_bytes(descriptor: int, info: os.stat_result) -> int:
    """Of an open file with this ``info``; counted until they are more than MAX_HOLES_BYTES. Leaves it at its beginning.

    What a file system has compressed is no hole; one that knows no holes (lseek(2)) has none.
    """
    if not is_sparse(info):
        return 0
    position = found = 0
    while position < info.st_size and found <= MAX_HOLES_BYTES:
        data = _seek(descriptor, position, os.SEEK_DATA, end=info.st_size)
        found += data - position
        position = _seek(descriptor, data, os.SEEK_HOLE, end=info.st_size)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return found


def _seek(descriptor: int, position: int, whence: int, *, end: int) -> int:
    """The next data, or hole, from ``position``; ``end`` where there is none, or the file became shorter."""
    try:
        return min(os.lseek(descriptor, position, whence), end)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return end
