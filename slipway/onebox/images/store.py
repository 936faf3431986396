"""The local images: immutable folders by digest, and tags that point at them.

``images/sha256/<hex>/`` holds ``manifest.json`` and ``root/`` (the image root, read-only);
``images/tags/<name, quoted>/<tag>`` is a file with a digest.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from slipway.onebox.images.environment import Progress, exclusive, lock_of
from slipway.onebox.images.errors import ImageError, NotBuilt
from slipway.onebox.images.reference import DIGEST, Reference, parse_reference
from slipway.onebox.paths import Paths

MANIFEST = "manifest.json"
POD_STATE = "state.json"


@dataclass(frozen=True)
class Image:
    """One built image. ``environment`` names a folder below ``Paths.environments``."""

    name: str
    digest: str
    entrypoint: tuple[str, ...]
    env: Mapping[str, str]
    class_name: str | None
    environment: str
    size_bytes: int
    created: str


@dataclass(frozen=True)
class Tagged:
    """One row of the list: a tag (None for a digest that no tag points at) and the Pods that run its digest."""

    name: str
    tag: str | None
    image: Image
    pods: tuple[str, ...]


@dataclass(frozen=True)
class Store:
    """Reads and writes the images of one home."""

    paths: Paths

    def folder(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise ImageError(f"{digest!r} is not a digest: expected sha256: and 64 hexadecimal digits")
        return self.paths.images / "sha256" / digest.removeprefix("sha256:")

    def root(self, image: Image) -> Path:
        return self.folder(image.digest) / "root"

    def environment(self, image: Image) -> Path:
        return self.paths.environments / image.environment

    def tag_file(self, name: str, tag: str) -> Path:
        return self.paths.images / "tags" / quote(name, safe="") / tag

    @property
    def lock_file(self) -> Path:
        """Whoever builds holds a share of it, whoever removes holds it alone."""
        return self.paths.images / ".lock"

    def resolve(self, text: str) -> Image:
        """What an ``image:`` of a manifest means now. Raises NotBuilt, InvalidReference."""
        reference = parse_reference(text)
        digest = reference.digest or self._tag(reference)
        image = self.find(digest) if digest else None
        if image is None:
            raise NotBuilt(text, reference.build_command)
        return image

    def find(self, digest: str) -> Image | None:
        """The image with this digest; None where it is not here (or not whole: without its environment)."""
        try:
            loaded = json.loads((self.folder(digest) / MANIFEST).read_text())
        except FileNotFoundError:
            return None
        image = Image(**{**loaded, "entrypoint": tuple(loaded["entrypoint"])})
        return image if (self.environment(image) / "bin" / "python").exists() else None

    def write_manifest(self, folder: Path, image: Image) -> None:
        (folder / MANIFEST).write_text(json.dumps(asdict(image), indent=2, sort_keys=True) + "\n")

    def move_tag(self, name: str, tag: str, digest: str) -> None:
        """Point ``name:tag`` at ``digest``; readers see the old one or the new one."""
        path = self.tag_file(name, tag)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{tag}.{os.getpid()}")
        draft.write_text(digest + "\n")
        draft.replace(path)

    def rows(self) -> list[Tagged]:
        """Every tag, then every digest without one; by name and tag."""
        used = self.digests_in_use()
        tagged = [
            Tagged(name, tag, image, used.get(digest, ()))
            for name, tag, digest in self._tags()
            if (image := self.find(digest)) is not None
        ]
        pointed = {row.image.digest for row in tagged}
        loose = [
            Tagged(image.name, None, image, used.get(image.digest, ()))
            for image in self._all()
            if image.digest not in pointed
        ]
        return sorted(tagged + loose, key=lambda row: (row.name, row.tag or "", row.image.digest))

    def incomplete(self) -> list[str]:
        """``NAME:TAG`` of every tag whose image is not whole here: it is to be built before it can run."""
        return [f"{name}:{tag}" for name, tag, digest in self._tags() if self.find(digest) is None]

    def digests_in_use(self) -> dict[str, tuple[str, ...]]:
        """Digest → the Pods (``namespace/name``) whose containers were created with it, and what runs of it at the hub."""
        used: dict[str, list[str]] = {}
        for path in sorted(self.paths.pods.glob(f"*/{POD_STATE}")):
            try:
                state = json.loads(path.read_text())
            except FileNotFoundError:  # the Pod went while we looked
                continue
            except ValueError as exc:
                raise ImageError(f"{path}: not JSON ({exc}): start the runner, which writes it anew") from exc
            for digest in set(state["images"].values()):
                used.setdefault(digest, []).append(f"{state['namespace']}/{state['name']}")
        for path in sorted(self.paths.hub_running.glob("*.json")):
            with contextlib.suppress(FileNotFoundError):  # the server ended while we looked
                used.setdefault(json.loads(path.read_text())["image"], []).append(f"hub/{path.stem}")
        return {digest: tuple(pods) for digest, pods in used.items()}

    def untag(self, text: str) -> None:
        """Remove one tag; the digest stays until it is pruned. Raises NotBuilt."""
        reference = parse_reference(text)
        try:
            self.tag_file(reference.name, reference.tag).unlink()
        except FileNotFoundError as exc:
            raise NotBuilt(text, reference.build_command) from exc

    def prune(self, *, progress: Progress = lambda _: None) -> list[Image]:
        """Remove what neither a tag nor a Pod refers to, then environments without an image. Answers the images."""
        if not self.paths.images.exists():
            return []
        with exclusive(self.lock_file, progress=progress):
            kept = {digest for _, _, digest in self._tags()} | self.digests_in_use().keys()
            gone = [image for image in self._all() if image.digest not in kept]
            for image in gone:
                _remove_made(self.folder(image.digest))
            needed = {image.environment for image in self._all()}
            for folder in sorted(self.paths.environments.glob("*/")):
                if folder.name not in needed and folder.suffix != ".tmp":
                    _remove_made(folder)
        return gone

    def _all(self) -> Iterator[Image]:
        for folder in sorted((self.paths.images / "sha256").glob("*/")):
            if folder.suffix == "" and (image := self.find(f"sha256:{folder.name}")) is not None:
                yield image

    def _tags(self) -> list[tuple[str, str, str]]:
        return [
            (unquote(path.parent.name), path.name, path.read_text().strip())
            for path in sorted((self.paths.images / "tags").glob("*/*"))
            if not path.name.startswith(".")
        ]

    def _tag(self, reference: Reference) -> str | None:
        try:
            return self.tag_file(reference.name, reference.tag).read_text().strip()
        except FileNotFoundError:
            return None


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _remove_made(folder: Path) -> None:
    """What a build made, and its lock file: nobody builds while the store is held alone."""
    remove_tree(folder)
    lock_of(folder).unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder whose own folders may be read-only."""
    for path, names, _ in os.walk(folder):
        for name in (path, *(os.path.join(path, item) for item in names)):  # noqa: PTH118  - os.walk gives texts
            if not os.path.islink(name):  # noqa: PTH114
                os.chmod(name, stat.S_IRWXU)  # noqa: PTH101
    shutil.rmtree(folder)
