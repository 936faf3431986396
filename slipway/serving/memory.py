"""Large blocks of memory go back to the system when they are freed."""

from __future__ import annotations

import ctypes

LARGE_BYTES = 1024 * 1024
"""A block of this size or more is mapped on its own. glibc alone raises the bound to the largest block ever freed (up
to 32 MiB), keeps what it frees below it, and a process that once served a 12 MiB body stays large."""

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3  # malloc.h


def return_large_blocks() -> bool:
    """Set the bound for this process; False where the C library has none (musl, macOS)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(which, LARGE_BYTES) for which in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
