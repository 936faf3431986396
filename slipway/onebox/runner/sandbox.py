"""A plan on a file descriptor → a private mount namespace with the plan's mounts, then the container's command.

Run as ``python -I -S sandbox.py FD``; imports only what starts in a few milliseconds. As an ordinary user it makes a user
namespace too (same user and group ids), because mounting needs CAP_SYS_ADMIN in the namespace that owns the mounts.
Exit 126: a mount or the working folder failed; 127: the command could not be started. Both say why on stderr.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_RELATIME = 1 << 21
# A remount in a user namespace must keep the flags that its parent set (mount_namespaces(7), "locked").
KEPT_FLAGS = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: MS_RELATIME}
CANNOT_PREPARE, CANNOT_START = 126, 127

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Never returns: execs the command or exits."""
    with os.fdopen(int(sys.argv[1]), encoding="utf-8", errors="surrogateescape") as stream:
        plan: dict[str, Any] = json.load(stream)
    try:
        if plan["overlays"] or plan["binds"]:
            _unshare()
            kept = _open_kept(plan)
            for overlay in plan["overlays"]:
                _overlay(overlay["ancestor"], overlay["skeleton"])
            for path, descriptor in kept:
                _mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND | MS_REC)
                os.close(descriptor)
            for bind in plan["binds"]:
                _bind(bind["source"], bind["target"], is_read_only=bind["read_only"])
        os.chdir(plan["cwd"])
    except OSError as exc:
        _die(CANNOT_PREPARE, f"cannot prepare the container: {exc}")
    argv = plan["argv"]
    try:
        os.execvpe(argv[0], argv, os.environ)  # noqa: S606  - becoming the command is the point
    except OSError as exc:
        _die(CANNOT_START, f"cannot start {argv[0]!r}: {exc.strerror}")


def _unshare() -> None:
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        _check(_libc.unshare(CLONE_NEWNS), "unshare")
    else:
        _check(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as stream:  # noqa: PTH123  - pathlib costs start-up time
                stream.write(text)
    _mount(None, "/", flags=MS_REC | MS_PRIVATE)


def _overlay(ancestor: str, skeleton: str) -> None:
    """The ancestor as it is, read-only, plus the folders of the skeleton."""
    lower = ":".join(
        part.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,") for part in (skeleton, ancestor)
    )
    try:
        _mount("overlay", ancestor, kind="overlay", flags=MS_RDONLY, data=f"lowerdir={lower}")
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        # In a user namespace the kernel takes no lower folder that has mounts below it.
        _rebuild(ancestor, skeleton)


def _rebuild(ancestor: str, skeleton: str) -> None:
    """The same as the overlay, entry by entry: an empty file system, each entry bound into it, and the skeleton."""
    original = os.open(ancestor, os.O_PATH | os.O_CLOEXEC)
    with os.scandir(ancestor) as found:
        entries = [(entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False)) for entry in found]
    links = {name: os.readlink(os.path.join(ancestor, name)) for name, is_link, _ in entries if is_link}  # noqa: PTH115, PTH118
    _mount("tmpfs", ancestor, kind="tmpfs", data="mode=0755,size=1m")
    for name, target in links.items():
        os.symlink(target, os.path.join(ancestor, name))  # noqa: PTH118, PTH211
    for name, is_link, is_folder in entries:
        if not is_link:
            place = os.path.join(ancestor, name)  # noqa: PTH118
            _make(place, is_folder=is_folder)
            _mount(f"/proc/self/fd/{original}/{name}", place, flags=MS_BIND | MS_REC)
    for folder, names, files in os.walk(skeleton):
        below = os.path.join(ancestor, os.path.relpath(folder, skeleton))  # noqa: PTH118
        for name in names + files:
            place = os.path.join(below, name)  # noqa: PTH118
            if not os.path.lexists(place):
                _make(place, is_folder=name in names)
    os.close(original)
    _mount(None, ancestor, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def _make(place: str, *, is_folder: bool) -> None:
    if is_folder:
        os.mkdir(place)  # noqa: PTH102
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))


def _open_kept(plan: dict[str, Any]) -> list[tuple[str, int]]:
    """What an overlay would hide or make read-only: mounts below its ancestor, and the platform's own folder."""
    kept: list[tuple[str, int]] = []
    with open("/proc/self/mountinfo") as stream:  # noqa: PTH123
        mounts = [line.split(" ")[4].encode().decode("unicode_escape") for line in stream]
    for overlay in plan["overlays"]:
        below = overlay["ancestor"].rstrip("/") + "/"
        paths = [path for path in (*mounts, *plan["keep"]) if path.startswith(below)]
        kept += [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in dict.fromkeys(paths)]
    return kept


def _bind(source: str, target: str, *, is_read_only: bool) -> None:
    _mount(source, target, flags=MS_BIND | MS_REC)
    if is_read_only:
        have = os.statvfs(target).f_flag
        flags = sum(mount for flag, mount in KEPT_FLAGS.items() if have & flag)
        _mount(None, target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | flags)


def _mount(
    source: str | None, target: str, *, kind: str | None = None, flags: int = 0, data: str | None = None
) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    result = _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    _check(result, f"mount {source or ''} on {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _die(code: int, message: str) -> None:
    os.write(2, f"slipway: {message}\n".encode(errors="surrogateescape"))
    os._exit(code)


if __name__ == "__main__":
    main()
