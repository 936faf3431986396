"""The two folders that a platform makes for itself: its home, and the one of its sockets in the shared /tmp."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.supervisor.errors import SupervisorError

LOCK = "up.lock"
LOCK_WITHIN_S = 30.0
POLL_S = 0.05
SEPARATORS = ":%\\\"'\n"  # of search paths, of Swift's configuration, of shells: names with them reach programs broken
PASSED_BY_HUB_USERS = 0o710
"""A home of root's that the hub opened to the group of its users, who must pass it to reach their own homes."""
MARKS = ("run", "secrets", "images")  # what a home has from its first use on


class HomeError(SupervisorError):
    """A folder cannot be used; the message says which, why, and what would be right."""


def ensure_folders(paths: Paths) -> None:
    """Make the home and the sockets' folder, both for their owner only (root's hub users may pass the home).

    Raises:
        HomeError: one of them is somebody else's, or no place for a platform.
    """
    refuse_odd_name(paths.home)
    _ensure_own(paths.home)
    if any(paths.home.iterdir()) and not any((paths.home / name).exists() for name in MARKS):
        raise HomeError(
            f"{paths.home}: not empty, and no home of a platform: let SLIPWAY_HOME name a folder of its own"
        )
    if not (os.getuid() == 0 and stat.S_IMODE(paths.home.stat().st_mode) == PASSED_BY_HUB_USERS):
        paths.home.chmod(0o700)
    _ensure_own(paths.sockets)
    paths.sockets.chmod(0o700)


def refuse_odd_name(home: Path) -> None:
    """Raises HomeError for a path that programs would read as several."""
    if wrong := sorted(set(str(home)) & set(SEPARATORS)):
        raise HomeError(f"{home}: SLIPWAY_HOME may not contain {' '.join(map(repr, wrong))}: choose another folder")


def _ensure_own(folder: Path) -> None:
    """A name in /tmp can be guessed: what lies there may be a trap of another user's."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.lstat()
    except OSError as error:
        raise HomeError(f"{folder}: {error.strerror}: let SLIPWAY_HOME name a folder that you can write to") from error
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise HomeError(
            f"{folder}: not a folder of yours (uid {os.getuid()}) but of uid {info.st_uid}: be that user, or remove it"
        )


def is_own(folder: Path) -> bool:
    """Whether it is there and ours to remove."""
    try:
        info = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid()


@contextmanager
def exclusive(paths: Paths) -> Iterator[None]:
    """One `slipway up` at a time prepares this home, whose folders are made.

    Raises:
        HomeError: another holds the lock for too long, or as for ``ensure_folders``.
    """
    ensure_folders(paths)
    paths.run.mkdir(exist_ok=True)
    deadline = time.monotonic() + LOCK_WITHIN_S
    with (paths.run / LOCK).open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise HomeError(
                        f"{paths.home}: another `slipway up` has been at work for {LOCK_WITHIN_S:g} s"
                    ) from error
                time.sleep(POLL_S)
            else:
                break
        yield
