"""Who a hub user's processes are: as root a user number of their own, else the platform's user."""

from __future__ import annotations

import fcntl
import grp
import hashlib
import json
import pwd
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import HomeError

FIRST, LAST = 20_000, 59_999
"""Below what systemd gives away by itself (61184), above the accounts of people."""
BLOCK = 1000
"""A home's numbers: the first is the group of all its hub users, the others one per user."""
ACCOUNT_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Identity:
    """``uid`` is the group's number too; ``shared_gid`` lets the user pass the platform's folders to its own."""

    uid: int
    shared_gid: int

    @property
    def login(self) -> str:
        """The Unix user's name; the hub user's own may be somebody's on this machine."""
        return f"hub-{self.uid}"


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


def uid_seed(home: Path) -> int:
    """Where the search for a home's numbers begins: homes on one machine begin at different places."""
    return int.from_bytes(hashlib.sha256(str(home).encode()).digest()[:8], "big")


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


def load_numbers(paths: Paths) -> dict[str, int]:
    """Hub user → user number, of all who ever had a server.

    Raises:
        HomeError: the file is damaged. To guess would give somebody another's files.
    """
    try:
        numbers: dict[str, int] = json.loads(paths.hub_users.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise HomeError(
            f"{paths.hub_users}: not JSON ({error}): write it anew from `getent passwd | grep '^hub-'`, as "
            '{"ada": 43001}'
        ) from error
    return numbers


def ensure_identity(paths: Paths, user: str, *, first: int) -> Identity:
    """Remember the number in SLIPWAY_HOME/hub/users.json, so that files keep their owner."""
    paths.hub.mkdir(mode=0o700, exist_ok=True)
    with (paths.hub / "users.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        numbers = load_numbers(paths)
        number = number_of(numbers, user, first=first)
        if user not in numbers:
            file = paths.hub_users
            draft = file.with_suffix(".tmp")
            draft.write_text(json.dumps({**numbers, user: number}, indent=2) + "\n")
            draft.replace(file)
    return Identity(number, first)


def ensure_unix_user(identity: Identity, user: str, *, home: Path) -> None:
    """An account without a password: Java, git and ssh want a name for a number.

    Raises:
        HomeError: the number is somebody else's by now, or the account cannot be made.
    """
    try:
        found = pwd.getpwuid(identity.uid)
    except KeyError:
        number = str(identity.uid)
        _account("groupadd", "--system", "--force", "--gid", number, identity.login)
        names = ("--comment", f"Slipway hub user {user}", "--home-dir", str(home), "--shell", "/bin/bash")
        _account("useradd", "--system", "--no-create-home", "--uid", number, "--gid", number, *names, identity.login)
        return
    if found.pw_name != identity.login:
        raise HomeError(
            f"user number {identity.uid}, which is the hub user {user}'s here, is {found.pw_name}'s on this machine: "
            "give that account another number"
        )


def remove_unix_user(identity: Identity) -> bool:
    """Remove the account, if it is the hub's; whether there was one.

    Raises:
        HomeError: it cannot be removed.
    """
    try:
        found = pwd.getpwuid(identity.uid)
    except KeyError:
        return False
    if found.pw_name != identity.login:
        return False
    _account("userdel", identity.login)
    return True


def _account(*argv: str) -> None:
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=ACCOUNT_TIMEOUT_S)
    except FileNotFoundError as error:
        raise HomeError(f"{argv[0]}: not on this machine: install the package passwd (or shadow-utils)") from error
    except subprocess.TimeoutExpired as error:
        raise HomeError(f"{' '.join(argv)}: not done within {ACCOUNT_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        raise HomeError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()[:300]}")


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
