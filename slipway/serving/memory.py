"""Freed memory goes back to the system: large blocks at once, all of it when that is asked for."""

from __future__ import annotations

import ctypes

LARGE_BYTES = 1024 * 1024
"""A block of this size or more is mapped on its own. glibc alone raises the bound to the largest block ever freed (up
to 32 MiB), keeps what it frees below it, and a process that once served a 12 MiB body stays large."""

KEPT_BYTES = 8 * LARGE_BYTES
"""Smaller blocks at the end of the heap are kept up to here when they are freed: to give back the memory of every body
and to get it again, page by page, takes longer than to serve it."""

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3  # malloc.h


def return_large_blocks() -> bool:
    """Set the bounds for this process; False where the C library has none (musl, macOS)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    bounds = {M_MMAP_THRESHOLD: LARGE_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES}
    return mallopt is not None and all(mallopt(which, size_bytes) for which, size_bytes in bounds.items())


def return_free_memory() -> None:
    """Give back what is free now, in the middle of the heap too (malloc_trim(3)). Nothing where the C library has none."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
