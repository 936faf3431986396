"""How many files and connections a process may have open: the usual soft limit of 1024 is there for select(2)."""

from __future__ import annotations

import resource

MAX_FILES = 65_536


def allow_many_files() -> int:
    """Raise the soft limit as far as the hard one, or MAX_FILES, allows; what it is then. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MAX_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
