"""image.yaml → the build context of a container image, with the same files as the local image."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.onebox.images.build import PLATFORM_ROOT, copy_files, find_repository, find_spec
from slipway.onebox.images.errors import ImageError, SourceError
from slipway.onebox.images.reference import Reference
from slipway.onebox.images.snapshot import SnapshotFile, take_snapshot
from slipway.onebox.images.spec import ImageSpec

DOCKERFILE = PLATFORM_ROOT / "images" / "Dockerfile"
BILL_LOCK = PLATFORM_ROOT / "requirements" / "bill.txt"
"""Of the program that lists an environment's packages, while the image is built."""

OWN_NAMES, OWN_LICENCE = "slipway/", "Apache-2.0"
TITLE = "org.opencontainers.image"
FILES_LABEL = "dev.slipway.files"
"""Label of a container image: the digest of the files that image.yaml names (``files_digest``)."""


@dataclass(frozen=True)
class Context:
    """What was written: ``name_tag`` as an engine tags it, the folder, and the digest of the files."""

    name_tag: str
    folder: Path
    files_digest: str


def write_context(
    name_tag: str,
    target: Path,
    *,
    repository: Path | None = None,
    folder: Path | None = None,
    labels: Mapping[str, str] | None = None,
) -> Context:
    """Fill ``target``, which must not exist or be empty, so that ``docker build target`` makes the image.

    ``folder`` holds the image.yaml; without it, the one below ``repository/images`` that has the name. ``labels`` are
    added to those that are known here. Raises ImageError.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ImageError(f"{target}: not an empty folder: give one that is empty or does not exist")
    repository = repository or find_repository(folder or Path.cwd())
    reference, spec = find_spec(name_tag, repository=repository, folder=folder)
    snapshot = take_snapshot(spec, roots=(repository, PLATFORM_ROOT))
    digest = files_digest(snapshot.files)
    target.mkdir(parents=True, exist_ok=True)
    copy_files(snapshot, target / "root")
    (target / "requirements.txt").write_text(snapshot.lock)
    (target / "unhashed.txt").write_text("".join(f"{pin}\n" for pin in spec.unhashed))
    all_labels = {**known_labels(reference, digest), **(labels or {})}
    try:
        shutil.copyfile(BILL_LOCK, target / "bill.txt")
        (target / "Dockerfile").write_text(dockerfile(DOCKERFILE.read_text(), spec, all_labels))
    except OSError as exc:
        raise SourceError(f"{exc.filename}: {exc.strerror}: it is a file of Slipway's repository") from exc
    return Context(str(reference), target, digest)


def files_digest(files: tuple[SnapshotFile, ...]) -> str:
    """``sha256:…`` over path, content and mode of every file, sorted by path: the same on any machine."""
    listed = [[file.target, file.sha256, file.is_executable] for file in files]
    return f"sha256:{hashlib.sha256(json.dumps(listed).encode()).hexdigest()}"


def known_labels(reference: Reference, digest: str) -> dict[str, str]:
    """Keys of the OCI image specification's annotations that need nobody to be asked.

    https://github.com/opencontainers/image-spec/blob/main/annotations.md
    """
    licences = {f"{TITLE}.licenses": OWN_LICENCE} if reference.name.startswith(OWN_NAMES) else {}
    return {f"{TITLE}.title": reference.name, f"{TITLE}.version": reference.tag, **licences, FILES_LABEL: digest}


def dockerfile(common: str, spec: ImageSpec, labels: Mapping[str, str]) -> str:
    """images/Dockerfile, ended with what this image.yaml says."""
    lines = [f"\n# {spec.name}"]
    lines += [f"ENV {name}={_quoted(value)}" for name, value in sorted(spec.env.items())]
    lines += [f"EXPOSE {' '.join(map(str, spec.ports))}"] if spec.ports else []
    lines += [f"LABEL {name}={_quoted(value)}" for name, value in labels.items()]
    lines += [f"ENTRYPOINT {json.dumps(list(spec.entrypoint))}"]
    return common + "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """A value of ENV or LABEL as it is: nothing in it is a variable, an end or an escape.

    https://docs.docker.com/reference/dockerfile/#environment-replacement. Raises ImageError for a line break.
    """
    if "\n" in value or "\r" in value:
        raise ImageError(f"{value!r}: a value of a container image is one line")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
