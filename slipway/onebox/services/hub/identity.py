"""Who a hub user's processes are: as root a user number of their own, else the platform's user."""

from __future__ import annotations

import fcntl
import grp
import json
import os
import pwd
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import HomeError

FIRST, LAST = 20_000, 59_999
"""Below what systemd gives away by itself (61184), above the accounts of people."""
BLOCK = 1000
"""A home's numbers: the first is the group of all its hub users, the others one per user."""


@dataclass(frozen=True)
class Identity:
    """``uid`` is the group's number too; ``shared_gid`` lets the user pass the platform's folders to its own."""

    uid: int
    shared_gid: int


def choose_first_uid(home: str, is_taken: Callable[[int], bool], *, seed: int) -> int:
    """The first number of a block in which no account lies; ``seed`` says where the search begins.

    Raises:
        HomeError: every block has accounts.
    """
    starts = list(range(FIRST, LAST + 1, BLOCK))
    begin = seed % len(starts)
    for start in (*starts[begin:], *starts[:begin]):
        if not any(is_taken(number) for number in range(start, start + BLOCK)):
            return start
    raise HomeError(f"{home}: no {BLOCK} free user numbers in a row from {FIRST} to {LAST} for the hub's users")


def taken_numbers() -> frozenset[int]:
    return frozenset({entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()})


def number_of(numbers: Mapping[str, int], user: str, *, first: int) -> int:
    """The user's number: the one that was given once, else the next.

    Raises:
        HomeError: all are given away.
    """
    if user in numbers:
        return numbers[user]
    number = max(numbers.values(), default=first) + 1
    if number >= first + BLOCK:
        raise HomeError(f"the hub has given away all of its {BLOCK - 1} user numbers")
    return number


def ensure_identity(paths: Paths, user: str, *, first: int) -> Identity:
    """Remember the number in SLIPWAY_HOME/hub/users.json, so that files keep their owner."""
    paths.hub.mkdir(mode=0o700, exist_ok=True)
    with (paths.hub / "users.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        file = paths.hub / "users.json"
        numbers: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
        number = number_of(numbers, user, first=first)
        if user not in numbers:
            draft = file.with_suffix(".tmp")
            draft.write_text(json.dumps({**numbers, user: number}, indent=2) + "\n")
            draft.replace(file)
    return Identity(number, first)


@contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Be that user to the file system for a while; None stays who we are."""
    if identity is None:
        yield
        return
    groups = os.getgroups()
    os.setgroups([identity.shared_gid])
    os.setegid(identity.uid)
    os.seteuid(identity.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def refuse_unreachable(paths: Paths) -> None:
    """As root, hub users must be able to pass the folders above the home and above Python.

    Raises:
        HomeError: one of them is closed; the message says which and what to do.
    """
    blocked = first_closed(paths.home.parents)
    if blocked:
        raise HomeError(
            f"{blocked}: closed to other users, so that as root the hub's users could not reach {paths.home}: "
            f"let SLIPWAY_HOME name a folder such as /srv/slipway, or be an ordinary user"
        )
    python = Path(sys.executable).resolve()
    if blocked := first_closed(python.parents):
        raise HomeError(
            f"{blocked}: closed to other users, so that as root the hub's users could not run {python}: "
            "make the environment with the system's Python (make setup PYTHON=/usr/bin/python3)"
        )


def first_closed(folders: Iterable[Path]) -> Path | None:
    return next((folder for folder in folders if not folder.stat().st_mode & stat.S_IXOTH), None)


def open_folders(paths: Paths, *, gid: int, images: Iterable[Path]) -> None:
    """Let the group pass (not list) what lies above the users' homes and ``images``; all else stays root's.

    ``images`` are folders below the home; everything in them may be read by who gets there.
    """
    passed = {paths.home, paths.hub, paths.hub / "homes"}
    for image in images:
        passed |= {parent for parent in image.parents if parent.is_relative_to(paths.home)}
        _open_tree(image)
    for folder in passed:
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, 0, gid)
        folder.chmod(0o710)


def _open_tree(root: Path) -> None:
    """What `chmod -R a+rX` does."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            wanted = mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0)
            if wanted != mode:
                path.chmod(wanted)
