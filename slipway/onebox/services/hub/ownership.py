"""Files between root and the hub's users: what they may pass, what is theirs, and writing as one of them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import PASSED_BY_HUB_USERS
from slipway.onebox.services.hub.identity import Identity


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


def open_folders(paths: Paths, *, gid: int, images: Iterable[Path]) -> None:
    """Let the group pass (not list) what lies above the users' homes and ``images``; all else stays root's.

    ``images`` are folders below the home; everything in them may be read by who gets there.
    """
    passed = {paths.home, paths.hub, paths.hub_homes}
    for image in images:
        passed |= {parent for parent in image.parents if parent.is_relative_to(paths.home)}
        _open_tree(image)
    for folder in sorted(passed):  # parents first
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, 0, gid)
        folder.chmod(PASSED_BY_HUB_USERS)
    for entry in paths.home.iterdir():
        if entry not in passed and not entry.is_symlink():
            with contextlib.suppress(FileNotFoundError):  # a file that was about to take another's place
                entry.chmod(stat.S_IMODE(entry.stat().st_mode) & 0o700)


def _open_tree(root: Path) -> None:
    """What `chmod -R a+rX` does."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            wanted = mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0)
            if wanted != mode:
                path.chmod(wanted)
