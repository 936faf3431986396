"""`slipway backup`: first what changes is held still, in the order that keeps every reference good, then all is written.

The order: the API's objects, MLflow's databases, JupyterHub's, S3. A SeldonDeployment names a model version that was
registered before; a version was registered after its files were in S3; and S3 keeps what it has. So whatever a copy
names is in the copy that is made later. Users' files and volumes are copied as they are found.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import slipway
from slipway.kube.client import Kube
from slipway.kube.errors import KubeError
from slipway.onebox.api.store_copy import STORE_COPY_PATH
from slipway.onebox.backup.databases import copy_sqlite, dump_postgres
from slipway.onebox.backup.entry import Kind
from slipway.onebox.backup.errors import NotMade
from slipway.onebox.backup.header import FORMAT, Header, render_header_file
from slipway.onebox.backup.names import API, DUMPS, HEADER, HUB_DATABASE
from slipway.onebox.backup.objects import hold_objects
from slipway.onebox.backup.parts import INTERPRETER, is_kept, parts_of
from slipway.onebox.backup.trees import Found, has_changed, open_content, walk
from slipway.onebox.backup.writer import ArchiveWriter, WholeFile
from slipway.onebox.home_format import read_format
from slipway.onebox.images.environment import shared
from slipway.onebox.images.snapshot import interpreter
from slipway.onebox.images.store import Store, now_text
from slipway.onebox.paths import Paths
from slipway.onebox.services.lost_secrets import refuse_lost_salt
from slipway.onebox.services.swift import SwiftFolders
from slipway.onebox.supervisor.state import load_states

PARTIAL = ".partial"
LOCK = "backup.lock"
MAX_NOTES = 1000
"""Names of what was left out, or changed meanwhile, that are kept to be told."""


@dataclass
class Report:
    """How somebody follows: ``say`` a step, ``total`` bytes that come, ``advance`` by bytes."""

    say: Callable[[str], None] = lambda _: None
    total: Callable[[int], None] = lambda _: None
    advance: Callable[[int], None] = lambda _: None


@dataclass
class Made:
    """``file_bytes`` of the backup, ``content_bytes`` of what is in it. ``left_out``: name → why."""

    members: int = 0
    content_bytes: int = 0
    file_bytes: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    def leave_out(self, name: str, why: str) -> None:
        if INTERPRETER.fullmatch(name) is None and len(self.left_out) < MAX_NOTES:
            self.left_out[name] = why


def make_backup(
    paths: Paths, file: Path, *, with_environments: bool = True, replace: bool = False, report: Report | None = None
) -> Made:
    """Write ``file`` (mode 0600) in one step: it is whole, or not there, or as it was.

    Raises:
        NotMade: a part of the platform cannot be copied, or the file cannot be written.
        FormatError: a newer release has had this home.
        SecretLost: it would hold objects, and not the salt that finds them.
    """
    report = report or Report()
    refuse_lost_salt(paths)
    _refuse_places(paths, file, replace=replace)
    number, _ = read_format(paths.home_format)
    header = Header(
        FORMAT,
        slipway.__version__,
        now_text(),
        str(paths.home),
        number,
        interpreter(),
        has_environments=with_environments,
    )
    try:
        with _sole_backup(paths), shared(Store(paths).lock_file, progress=report.say):
            hold_still(paths, paths.backup_scratch, say=report.say)
            with _new_file(file, note=paths.run / LOCK) as sink:
                made = _write(paths, sink, header, report)
    except OSError as error:
        raise NotMade(f"{error.filename or file}: {error.strerror or error}") from error
    made.file_bytes = file.stat().st_size
    return made


def hold_still(paths: Paths, scratch: Path, *, say: Callable[[str], None]) -> None:
    """What changes while a platform runs, copied below ``scratch`` in the order above. Raises NotMade."""
    alive = {name for name, state in load_states(paths.run).items() if state.is_alive}
    say("the API's objects")
    if "api" in alive:
        asyncio.run(_download_store(paths, scratch / API))
    elif paths.api_database.exists():
        copy_sqlite(paths.api_database, scratch / API)
    if (paths.data("postgres") / "PG_VERSION").exists():
        if "postgres" not in alive:
            raise NotMade("PostgreSQL does not run, whose databases are copied through it: slipway up --only postgres")
        say("MLflow's databases")
        dump_postgres(paths, scratch / DUMPS)
    hub = paths.home / HUB_DATABASE
    if hub.exists():
        say("JupyterHub's database")
        copy_sqlite(hub, scratch / HUB_DATABASE)
    say("S3's listings and objects")
    hold_objects(SwiftFolders(paths.data("s3")), scratch / "data/s3/devices")


def _refuse_places(paths: Paths, file: Path, *, replace: bool) -> None:
    if not paths.settings.exists():
        raise NotMade(f"{paths.home}: no home of a platform: let SLIPWAY_HOME name one")
    if file.is_dir():
        raise NotMade(f"{file}: a folder: name a file in it")
    if file.exists() and not replace:
        raise NotMade(f"{file}: is there already: choose another name, or --replace it")
    if file.resolve().is_relative_to(paths.home):
        raise NotMade(f"{file}: inside the home {paths.home}, with which it would be lost: choose a place outside")
    if not file.parent.is_dir():
        raise NotMade(f"{file.parent}: no such folder")


@contextmanager
def _sole_backup(paths: Paths) -> Iterator[None]:
    """One at a time, with an empty scratch folder that is gone afterwards; what a killed one left is removed first."""
    paths.run.mkdir(exist_ok=True)
    with (paths.run / LOCK).open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NotMade(f"{paths.home}: another backup of it is being made") from error
        _remove_killed(paths.run / LOCK)
        shutil.rmtree(paths.backup_scratch, ignore_errors=True)
        paths.backup_scratch.mkdir(mode=0o700)
        try:
            yield
        finally:
            shutil.rmtree(paths.backup_scratch)


def _remove_killed(note: Path) -> None:
    """The half-made file of a killed backup of this home, whose path is in ``note``. Raises NotMade."""
    left = os.fsdecode(note.read_bytes())
    if left.endswith(PARTIAL):  # a power cut may leave anything
        try:
            Path(left).unlink(missing_ok=True)
        except OSError as error:
            raise NotMade(
                f"{left}: left by a killed backup, with secrets, and cannot be removed: {error.strerror}"
            ) from error
    note.write_bytes(b"")


@contextmanager
def _new_file(file: Path, *, note: Path) -> Iterator[WholeFile]:
    """It gets the name ``file`` when it is whole and on disk; after a failure what was opened here is gone, nothing else.

    ``note`` has the path of the half-made file meanwhile.
    """
    partial = file.parent.resolve() / (file.name + PARTIAL)
    try:
        sink = WholeFile(partial)
    except FileExistsError as error:
        raise NotMade(
            f"{partial}: is there already: another home's backup writes it, or was killed: remove it if none runs"
        ) from error
    is_whole = False
    try:
        note.write_bytes(os.fsencode(partial))
        try:
            yield sink
            is_whole = True
        finally:
            sink.close(durable=is_whole)
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        note.write_bytes(b"")


async def _download_store(paths: Paths, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True)
    try:
        async with Kube.from_kubeconfig(paths.kubeconfig, user_agent="slipway-backup") as kube:
            with target.open("wb") as stream:
                async for chunk in kube.download(STORE_COPY_PATH):
                    stream.write(chunk)
    except KubeError as error:
        raise NotMade(f"the API runs, but gives no copy of its objects: {error}") from error


def _write(paths: Paths, sink: WholeFile, header: Header, report: Report) -> Made:
    parts = parts_of(paths, paths.backup_scratch, with_environments=header.has_environments)
    found = [
        (part, sum(item.entry.size for item in walk(part.place, part.name, wanted=is_kept) if not item.left_out))
        for part in parts
    ]
    report.total(sum(size for _, size in found))
    writer = ArchiveWriter(sink, scratch=paths.backup_scratch, progress=report.advance)
    try:
        made = Made()
        writer.add_bytes(HEADER, render_header_file(header))
        for part in parts:
            for item in walk(part.place, part.name, wanted=is_kept, with_xattrs=part.with_xattrs):
                _add(writer, item, made)
        writer.close()
        made.members, made.content_bytes = writer.members, writer.content_bytes
    finally:
        writer.discard()
    return made


def _add(writer: ArchiveWriter, item: Found, made: Made) -> None:
    name = item.entry.name
    if item.left_out:
        made.leave_out(name, item.left_out)
    elif item.entry.kind is not Kind.FILE:
        writer.add(item.entry)
    elif (opened := open_content(item)) is None:
        made.leave_out(name, "gone, closed to its reader, or made sparse meanwhile")
    else:
        entry, stream = opened
        with stream:
            began_ns = os.fstat(stream.fileno()).st_mtime_ns
            is_whole = writer.add(entry, stream)
            if (not is_whole or has_changed(stream, entry, began_ns)) and len(made.changed) < MAX_NOTES:
                made.changed.append(name)
