"""A restored home made at home where it is: internal ports and addresses, Python environments, the hub's users."""

from __future__ import annotations

import ipaddress
import json
import os
import sqlite3
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway.onebox.backup.errors import NotRestored
from slipway.onebox.paths import Paths
from slipway.onebox.services.hub.identity import BLOCK, choose_first_uid, load_numbers, taken_numbers, uid_seed
from slipway.onebox.settings import INTERNAL, Settings


def forget_addresses(settings: Settings) -> Settings:
    """What `slipway up` picks stays to be picked: on this machine it may be somebody else's."""
    unset: dict[str, Any] = dict.fromkeys(INTERNAL, 0)
    return replace(settings, cluster_network="", **unset)


def move_address(address: str, old: ipaddress.IPv4Network, new: ipaddress.IPv4Network) -> str:
    """The same place in the other network; what is none of the old one's ("None", empty) stays."""
    try:
        number = ipaddress.IPv4Address(address)
    except ValueError:
        return address
    return str(new[int(number) - int(old.network_address)]) if number in old else address


def move_services(database: Path, old: ipaddress.IPv4Network, new: ipaddress.IPv4Network) -> int:
    """Every Service of an API's store that is not running; how many. Networks are equally large.

    Raises:
        NotRestored: ``database`` is no API's store, or a Service in it is none.
    """
    try:
        return _move_services(database, old, new)
    except (sqlite3.Error, ValueError, LookupError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise NotRestored(
            f"{database.name}: the API's Services in it cannot be read ({why}): no backup has that"
        ) from error


def _move_services(database: Path, old: ipaddress.IPv4Network, new: ipaddress.IPv4Network) -> int:
    moved = 0
    with closing(sqlite3.connect(database)) as store, store:
        rows = store.execute("select namespace, name, body from objects where resource = 'services'").fetchall()
        for namespace, name, body in rows:
            service = json.loads(body)
            spec = service["spec"]
            if not spec.get("clusterIP"):
                continue
            spec["clusterIP"] = move_address(spec["clusterIP"], old, new)
            spec["clusterIPs"] = [move_address(item, old, new) for item in spec.get("clusterIPs") or ()]
            store.execute(
                "update objects set body = ? where resource = 'services' and namespace = ? and name = ?",
                (json.dumps(service, separators=(",", ":")), namespace, name),
            )
            moved += 1
    return moved


def adopt_environments(environments: Path, *, old: Path, new: Path) -> None:
    """Environments work with this machine's Python, and their scripts name the folder in which they will be.

    ``old`` and ``new`` are the folders of all environments, where the backup was made and where it will lie.
    """
    python = Path(sys.executable).resolve()
    for config in sorted(environments.glob("*/pyvenv.cfg")):
        programs = config.parent / "bin"
        (programs / "python").unlink(missing_ok=True)
        (programs / "python").symlink_to(python)
        config.write_text(_with_home(config.read_text(), python.parent))
        if old != new:
            for script in sorted(programs.iterdir()):
                _retarget(script, f"{old}/".encode(), f"{new}/".encode())


def _with_home(config: str, home: Path) -> str:
    """Of the lines ``key = value`` of a pyvenv.cfg, the one that says where Python is."""
    lines = [f"home = {home}" if line.partition("=")[0].strip() == "home" else line for line in config.splitlines()]
    return "\n".join(lines) + "\n"


def _retarget(script: Path, old: bytes, new: bytes) -> None:
    """Scripts that pip wrote name their environment in the first line (or second, if long)."""
    if script.is_symlink() or not script.is_file():
        return
    content = script.read_bytes()
    if content.startswith(b"#!") and old in content:
        script.write_bytes(content.replace(old, new))


def renumber(numbers: Mapping[str, int], users: Iterable[str], *, old_first: int, first: int) -> dict[str, int]:
    """Hub users → user numbers of the block that begins at ``first``: the same places as before, new ones behind them."""
    kept = {user: number - old_first + first for user, number in numbers.items()} if old_first else {}
    following = max(kept.values(), default=first) + 1
    added = sorted(set(users) - kept.keys())
    return {**kept, **{user: following + index for index, user in enumerate(added)}}


def give_homes(paths: Paths, settings: Settings, *, home: Path, taken: Collection[int] | None = None) -> Settings:
    """As root: every hub user's files to a user number that is nobody's here. The settings name the numbers' block.

    ``paths`` is where the files are now, ``home`` where they will be.

    Raises:
        HomeError: there is no such block.
    """
    homes = {folder.name: folder for folder in sorted(paths.hub_homes.glob("*/"))}
    numbers = load_numbers(paths)
    if not homes and not numbers:
        return replace(settings, hub_first_uid=0)
    known = taken_numbers() if taken is None else taken
    first = settings.hub_first_uid
    if not first or any(number in known for number in range(first, first + BLOCK)):
        first = choose_first_uid(str(home), known.__contains__, seed=uid_seed(home))
    numbers = renumber(numbers, homes, old_first=settings.hub_first_uid, first=first)
    paths.hub_users.write_text(json.dumps(numbers, indent=2) + "\n")
    for user, folder_of_user in homes.items():
        for folder, names, files in os.walk(folder_of_user):
            for name in (folder, *(os.path.join(folder, item) for item in (*names, *files))):  # noqa: PTH118  - texts
                os.chown(name, numbers[user], numbers[user], follow_symlinks=False)
    return replace(settings, hub_first_uid=first)
