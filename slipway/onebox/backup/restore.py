"""`slipway restore`: a backup is read to its end and compared, then made a home beside its place, then renamed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from slipway.onebox.backup.databases import load_postgres
from slipway.onebox.backup.errors import NotRestored
from slipway.onebox.backup.extract import DRAFT_MODE, extract
from slipway.onebox.backup.header import Header
from slipway.onebox.backup.make import Report
from slipway.onebox.backup.names import DUMPS
from slipway.onebox.backup.reader import ArchiveReader, open_archive
from slipway.onebox.backup.relocate import adopt_environments, forget_addresses, give_homes, move_services
from slipway.onebox.home_format import FormatError, migrate, steps_from, write_format
from slipway.onebox.images.snapshot import interpreter
from slipway.onebox.images.store import Store, remove_tree
from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import is_own, refuse_odd_name
from slipway.onebox.services.networks import choose_network
from slipway.onebox.services.postgres_setup import ClusterError, end_leftovers
from slipway.onebox.services.secrets import sync_folder
from slipway.onebox.services.swift_setup import StorageError, refuse_without_xattrs
from slipway.onebox.settings import Settings, load_settings, parse_cluster_network, save_settings
from slipway.onebox.supervisor.procfs import listeners_in

DRAFT = ".{name}.restoring"
MEBIBYTE = 1 << 20
SPARE_BYTES = 256 * MEBIBYTE
"""PostgreSQL's empty cluster, and what a first start writes."""


@dataclass(frozen=True)
class Checked:
    """A backup that is whole. ``content_bytes`` is what it takes, unpacked."""

    header: Header
    members: int
    content_bytes: int


def check_backup(file: Path, *, report: Report, at_most_bytes: int | None = None) -> Checked:
    """Read ``file`` to its end and compare every member; nothing is written anywhere.

    Raises:
        Damaged: it is not what a backup wrote; the message names the member.
        NotRestored: a newer release made it, or it holds more than ``at_most_bytes``.
        OSError: it cannot be read.
    """
    report.total(file.stat().st_size)
    stream, reader = open_archive(file)
    with stream:
        read_bytes = 0
        for _, content in reader.entries():
            _refuse_size(file, reader, at_most_bytes)
            for _ in content:
                read_bytes += _advance(stream, read_bytes, report)
        _advance(stream, read_bytes, report)
    return Checked(reader.header, reader.members.tally.members, reader.members.content_bytes)


def restore_backup(file: Path, paths: Paths, *, report: Report) -> list[str]:
    """Make the home that ``file`` holds; the images (``NAME:TAG``) that must be built before they can run.

    Raises:
        Damaged, NotRestored, HomeError, FormatError: with the reason; the home was not touched.
    """
    home = paths.home
    refuse_home(home)
    refuse_odd_name(home)
    _make_parents(home)
    free_bytes = shutil.disk_usage(home.parent).free
    report.say("checking")
    checked = check_backup(file, report=report, at_most_bytes=free_bytes - SPARE_BYTES)
    refuse_header(checked.header)
    draft = home.with_name(DRAFT.format(name=home.name))
    _remove_draft(draft)
    try:
        draft.mkdir(mode=DRAFT_MODE)
        refuse_without_xattrs(draft)
        report.say("unpacking")
        report.total(checked.content_bytes)
        stream, reader = open_archive(file)
        with stream:
            extract(reader, draft, advance=report.advance)
        unbuilt = _settle(Paths(draft), paths, checked.header, report)
        refuse_home(home)  # it took a while
        report.say("syncing")
        _rename_durably(draft, home)
    except StorageError as error:
        raise NotRestored(str(error)) from error
    except OSError as error:
        raise NotRestored(f"{error.filename or home}: {error.strerror or error}") from error
    finally:
        _remove_draft(draft)
    return unbuilt


def refuse_home(home: Path) -> None:
    """Raises NotRestored for a home that is in use, or no folder."""
    if home.is_symlink() or (home.exists() and not home.is_dir()):
        raise NotRestored(f"{home}: no folder: let SLIPWAY_HOME name a new one")
    if home.exists() and any(home.iterdir()):
        raise NotRestored(
            f"{home}: not empty, and a restore overwrites nothing: let SLIPWAY_HOME name a new folder, or move this one"
        )


def refuse_header(header: Header) -> None:
    """Raises NotRestored for what this release, or this Python, cannot use."""
    try:
        steps_from(header.home_format)
    except FormatError as error:
        raise NotRestored(f"made by Slipway {header.release}: {error}: restore it with that release") from error
    if header.has_environments and header.interpreter != interpreter():
        raise NotRestored(
            f"its Python environments are for {header.interpreter}, this is {interpreter()}: restore it with such a "
            "Python, or make the backup --without-environments and build the images anew"
        )


def _settle(draft: Paths, paths: Paths, header: Header, report: Report) -> list[str]:
    """Everything in ``draft`` that depends on where it is, as it must be at ``paths``."""
    settings = _with_network(draft, load_settings(draft.settings), home=paths.home)
    if os.getuid() == 0:
        settings = give_homes(draft, settings, home=paths.home)
    save_settings(draft.settings, settings)
    adopt_environments(draft.environments, old=Paths(Path(header.home)).environments, new=paths.environments)
    if (draft.home / DUMPS).exists():
        report.say("loading MLflow's databases")
        _load(draft, draft.home / DUMPS)
    write_format(draft, header.home_format)
    migrate(draft)
    return Store(draft).incomplete()


def _with_network(draft: Paths, settings: Settings, *, home: Path) -> Settings:
    """Services move to the network that `slipway up` would choose for this home: another home may have theirs."""
    moved = forget_addresses(settings)
    if not settings.cluster_network:
        return moved
    new = choose_network(str(home), lambda one: bool(listeners_in(one)))
    if draft.api_database.exists():
        move_services(draft.api_database, parse_cluster_network(settings.cluster_network), new)
    return replace(moved, cluster_network=str(new))


def _load(draft: Paths, dumps: Path) -> None:
    draft.sockets.mkdir(mode=DRAFT_MODE, exist_ok=True)
    try:
        load_postgres(draft, dumps)
    finally:
        shutil.rmtree(draft.sockets)
    shutil.rmtree(dumps)


def _rename_durably(draft: Path, home: Path) -> None:
    """Everything is on disk before it has its name, and then the name is."""
    os.sync()
    draft.rename(home)
    sync_folder(home.parent)


def _make_parents(home: Path) -> None:
    try:
        home.parent.mkdir(mode=DRAFT_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise NotRestored(
            f"{home.parent}: {error.strerror}: let SLIPWAY_HOME name a folder that you can make"
        ) from error


def _remove_draft(draft: Path) -> None:
    """Also a killed restore's, with the PostgreSQL that it left. A folder of that name beside the home is nobody else's."""
    if draft.is_symlink() or draft.is_dir():
        if draft.is_symlink() or draft.stat().st_uid != os.getuid():
            raise NotRestored(f"{draft}: not a folder of yours, and in the way: remove it")
        paths = Paths(draft)
        try:
            end_leftovers(paths.data("postgres"))
        except ClusterError as error:
            raise NotRestored(str(error)) from error
        if is_own(paths.sockets):
            shutil.rmtree(paths.sockets)
        remove_tree(draft)


def _advance(stream: BinaryIO, before_bytes: int, report: Report) -> int:
    """How far the file was read on since ``before_bytes``."""
    step = stream.tell() - before_bytes
    report.advance(step)
    return step


def _refuse_size(file: Path, reader: ArchiveReader, at_most_bytes: int | None) -> None:
    if at_most_bytes is not None and reader.members.content_bytes > at_most_bytes:
        raise NotRestored(
            f"{file}: holds more than the {max(0, at_most_bytes) // MEBIBYTE} MiB that are free for the home: "
            "make room, or let SLIPWAY_HOME name a folder on another disk"
        )
