"""Sources and a lock file → an immutable local image, and the tag that names it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import slipway
from slipway.onebox.images.environment import Progress, ensure_environment, exclusive, lock_of, shared
from slipway.onebox.images.errors import EnvironmentFailed, ImageError, SourceChanged
from slipway.onebox.images.reference import Reference, parse_reference
from slipway.onebox.images.snapshot import Snapshot, SnapshotFile, take_snapshot
from slipway.onebox.images.spec import ImageSpec, find_image_folder, load_image_spec
from slipway.onebox.images.store import Image, Store, now_text, remove_tree
from slipway.onebox.paths import Paths

PLATFORM_ROOT = Path(slipway.__file__).resolve().parents[1]
COMPILE_TIMEOUT_S = 120.0
SNAPSHOT_TRIES = 3

ImageDigest = str


def build(
    name_tag: str,
    *,
    paths: Paths,
    repository: Path | None = None,
    folder: Path | None = None,
    progress: Progress = lambda _: None,
) -> ImageDigest:
    """Build ``NAME:TAG`` and point the tag at it; answers ``sha256:…``. The same sources again change nothing.

    ``folder`` holds the image.yaml; without it, the one below ``repository/images`` that has the name. Raises
    ImageError.
    """
    repository = repository or find_repository(folder or Path.cwd())
    reference, spec = find_spec(name_tag, repository=repository, folder=folder)
    store = Store(paths)
    with shared(store.lock_file, progress=progress):
        digest = _build_unchanged(spec, store, roots=(repository, PLATFORM_ROOT), progress=progress)
        store.move_tag(reference.name, reference.tag, digest)
    return digest


def find_spec(name_tag: str, *, repository: Path, folder: Path | None = None) -> tuple[Reference, ImageSpec]:
    """What ``NAME:TAG`` is built from: the image.yaml of ``folder``, or the one below ``repository/images``.

    Raises ImageError where it has another name, and for a digest.
    """
    reference = parse_reference(name_tag)
    if reference.digest:
        raise ImageError(f"{name_tag!r}: a digest comes out of a build, it is not chosen: give NAME:TAG")
    spec = load_image_spec((folder or find_image_folder(reference.name, repository)).resolve())
    if spec.name != reference.name:
        raise ImageError(f"{spec.folder}: its image.yaml says `name: {spec.name}`, not {reference.name}")
    return reference, spec


def ensure(
    names: Iterable[str], paths: Paths, *, repository: Path | None = None, progress: Progress = lambda _: None
) -> dict[str, ImageDigest]:
    """Each ``NAME:TAG`` is there and made from the sources as they are now; unchanged ones cost a read of the sources."""
    return {name: build(name, paths=paths, repository=repository, progress=progress) for name in names}


def find_repository(start: Path) -> Path:
    """The nearest folder from ``start`` upwards that holds ``images/``; else the one this platform runs from."""
    for folder in (start.resolve(), *start.resolve().parents):
        if any((folder / "images").glob("*/image.yaml")):
            return folder
    return PLATFORM_ROOT


def _build_unchanged(spec: ImageSpec, store: Store, *, roots: tuple[Path, ...], progress: Progress) -> ImageDigest:
    """An image of one state of the sources, although someone may be editing them."""
    for attempt in range(1, SNAPSHOT_TRIES + 1):
        snapshot = take_snapshot(spec, roots=roots)
        environment = store.paths.environments / snapshot.lock_digest
        ensure_environment(environment, lock=snapshot.lock, unhashed=spec.unhashed, progress=progress)
        try:
            _write_once(snapshot, store, progress)
        except SourceChanged:
            if attempt == SNAPSHOT_TRIES:
                raise
        else:
            return snapshot.digest
    raise AssertionError("unreachable: the last try returns or raises")


def _write_once(snapshot: Snapshot, store: Store, progress: Progress) -> None:
    with exclusive(lock_of(store.folder(snapshot.digest)), progress=progress):
        if store.find(snapshot.digest) is None:
            progress(f"copying {len(snapshot.files)} files")
            _write(snapshot, store)


def _write(snapshot: Snapshot, store: Store) -> None:
    """Fill a folder beside the final one, then rename: a digest's folder is always whole."""
    final = store.folder(snapshot.digest)
    draft = final.with_name(f"{final.name}.tmp")
    for left_over in (draft, final):  # a build that was killed; an image whose environment is gone
        if left_over.exists():
            remove_tree(left_over)
    try:
        _fill(draft, snapshot, store)
        draft.rename(final)
    finally:
        if draft.exists():
            remove_tree(draft)


def copy_files(snapshot: Snapshot, root: Path) -> None:
    """The snapshot's files below ``root``, which is made: what a local image holds, and a container image.

    Raises SourceChanged where one is no longer what was read.
    """
    root.mkdir(parents=True)
    for file in snapshot.files:
        target = root / file.target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.source, target)
        _check_copy(file, target)
        target.chmod(0o555 if file.is_executable else 0o444)


def _fill(draft: Path, snapshot: Snapshot, store: Store) -> None:
    root = draft / "root"
    copy_files(snapshot, root)
    _compile(root, python=store.paths.environments / snapshot.lock_digest / "bin" / "python")
    store.write_manifest(
        draft,
        Image(
            name=snapshot.spec.name,
            digest=snapshot.digest,
            entrypoint=snapshot.spec.entrypoint,
            env=dict(snapshot.spec.env),
            class_name=snapshot.spec.class_name,
            environment=snapshot.lock_digest,
            size_bytes=sum(file.size_bytes for file in snapshot.files),
            created=now_text(),
        ),
    )
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            path = Path(folder, name)
            path.chmod(path.stat().st_mode & 0o555)
        Path(folder).chmod(0o555)


def _check_copy(file: SnapshotFile, copy: Path) -> None:
    with copy.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
            raise SourceChanged(f"{file.source}: changed while the image was being built: build again")


def _compile(root: Path, *, python: Path) -> None:
    """Byte code beside the sources, because a running container cannot write there.

    Files that do not compile are left as they are: they may be templates, and an import of them names the line.
    """
    argv = [str(python), "-m", "compileall", "-q", "-q", "--invalidation-mode", "unchecked-hash", str(root)]
    try:
        subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMPILE_TIMEOUT_S)
    except subprocess.TimeoutExpired as exc:
        raise EnvironmentFailed(f"{root}: compiling took longer than {COMPILE_TIMEOUT_S:.0f} s") from exc
