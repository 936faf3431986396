"""Where a container's mounts go: real paths in a mount namespace, or translated words where there can be none."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

TRANSLATED = "translated"
MOUNTED = "mounted"
SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  - named so that no overlay makes them read-only


@dataclass(frozen=True)
class Bind:
    """``source`` appears at ``target``, which is absolute."""

    source: Path
    target: str
    is_read_only: bool = False


@dataclass(frozen=True)
class Overlay:
    """``ancestor`` exists; ``folders`` and ``files`` below it (relative) must be made so that binds have a target."""

    ancestor: str
    folders: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """``translations``: path → real folder, for mounts that cannot be real."""

    overlays: tuple[Overlay, ...] = ()
    binds: tuple[Bind, ...] = ()
    translations: Mapping[str, str] | None = None

    @property
    def mode(self) -> str:
        return TRANSLATED if self.translations else MOUNTED


def place(binds: Iterable[Bind], *, has_namespaces: bool, exists: Callable[[str], bool] = os.path.lexists) -> Placement:
    """Shallow mounts first, so that one mount may lie inside another.

    A target whose deepest existing ancestor is ``/`` (or a folder that others write to) is translated: an overlay there
    would make all of it read-only.
    """
    ordered = sorted(binds, key=lambda bind: (len(PurePosixPath(bind.target).parts), bind.target))
    if not has_namespaces:
        return Placement(translations={bind.target: str(bind.source) for bind in ordered if _is_worth(bind)} or None)
    real: list[Bind] = []
    translations: dict[str, str] = {}
    missing: dict[str, list[Bind]] = {}
    for bind in ordered:
        if exists(bind.target) or _inside(bind.target, [item.target for item in real]):
            real.append(bind)
            continue
        ancestor = _ancestor(bind.target, exists)
        if ancestor == "/" or ancestor in SHARED_FOLDERS:
            translations[bind.target] = str(bind.source)
            continue
        missing.setdefault(ancestor, []).append(bind)
        real.append(bind)
    overlays = tuple(_overlay(ancestor, found) for ancestor, found in sorted(missing.items()))
    return Placement(overlays, tuple(real), translations or None)


def translate(word: str, translations: Mapping[str, str] | None) -> str:
    """A mounted path at the start of ``word``, after ``file://``, or after the first ``=``, becomes its real folder."""
    for path, real in sorted((translations or {}).items(), key=lambda item: -len(item[0])):
        found = re.match(rf"(?P<before>(?:[^=/]*=)?(?:file://)?){re.escape(path)}(?=/|$)", word)
        if found:
            return found["before"] + real + word[found.end() :]
    return word


def inner_targets(placement: Placement) -> list[tuple[Bind, Path, bool]]:
    """Mount points that lie inside another mount: (bind, path inside the outer source, is it a file)."""
    inner = []
    for bind in placement.binds:
        outer = [item for item in placement.binds if item is not bind and _inside(bind.target, [item.target])]
        if outer:
            host = max(outer, key=lambda item: len(item.target))
            below = PurePosixPath(bind.target).relative_to(host.target)
            inner.append((bind, host.source / below, bind.source.is_file()))
    return inner


def _is_worth(bind: Bind) -> bool:
    """Without namespaces a file over an existing one (``/etc/hosts``) stays what the machine has."""
    return not bind.source.is_file() or not os.path.lexists(bind.target)


def _inside(target: str, outers: Iterable[str]) -> bool:
    return any(target.startswith(outer.rstrip("/") + "/") for outer in outers)


def _ancestor(target: str, exists: Callable[[str], bool]) -> str:
    return next(str(parent) for parent in PurePosixPath(target).parents if exists(str(parent)))


def _overlay(ancestor: str, binds: list[Bind]) -> Overlay:
    below = [(str(PurePosixPath(bind.target).relative_to(ancestor)), bind.source.is_file()) for bind in binds]
    return Overlay(
        ancestor,
        folders=tuple(path for path, is_file in below if not is_file),
        files=tuple(path for path, is_file in below if is_file),
    )
