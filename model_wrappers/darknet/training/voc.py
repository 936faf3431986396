"""A folder in Pascal VOC's form → a set of photos: ``JPEGImages``, ``Annotations``, ``ImageSets/Main/<split>.txt``.

Corners are taken as edges in pixels, as most labelling programs write them. Objects marked difficult or truncated count
like any other. Everingham et al., "The Pascal Visual Object Classes Challenge" (2010).
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_wrappers import photo
from model_wrappers.darknet.provenance import file_sha256
from model_wrappers.darknet.training.errors import DataSetError
from model_wrappers.darknet.training.photos import LabelledPhoto
from model_wrappers.errors import ComponentError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_ANNOTATION_BYTES = 1 << 20
MAX_PHOTOS = 200_000
MAX_LISTED = 10  # problems that one error lists

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """Something odd that a training can do without: it is left out and told."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, eq=False)
class Annotation:
    """One XML file: the photo's size as it says, its usable boxes, and what was left out."""

    width: int
    height: int
    boxes: Boxes
    classes: NDArray[np.int64]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class VocPhotos:
    """One split. ``findings`` tells what was left out."""

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    annotations: tuple[Annotation, ...]
    fingerprint: str

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for annotation in self.annotations for finding in annotation.findings)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> LabelledPhoto:
        """Raises DataSetError where the photo cannot be decoded or has another size than its annotation says."""
        path, annotation = self.paths[index], self.annotations[index]
        try:
            pixels = photo.decode(path.read_bytes())
        except (ComponentError, OSError) as exc:
            raise DataSetError(str(path), f"cannot be read as a photo: {exc}") from exc
        height, width = pixels.shape[:2]
        if (width, height) != (annotation.width, annotation.height):
            said = f"{annotation.width}x{annotation.height}"
            raise DataSetError(str(path), f"is {width}x{height}, but its annotation says {said}: boxes would be wrong")
        return LabelledPhoto(pixels, annotation.boxes, annotation.classes)


def load_voc(folder: Path, split: str, names: Sequence[str]) -> VocPhotos:
    """Every annotation of ``split`` is read now, and each photo's digest taken; photos are decoded later. ``names`` are the classes in the order of the cfg.

    Raises:
        DataSetError: a file is missing, broken, or names a class that is not in ``names``; it lists the first ten.
    """
    stems = _stems(folder / "ImageSets" / "Main" / f"{split}.txt")
    paths, annotations, problems = [], [], []
    digest = hashlib.sha256("\n".join(names).encode())
    for stem in stems:
        try:
            path = _photo(folder / "JPEGImages", stem)
            content = _content(folder / "Annotations" / f"{stem}.xml")
            annotation = parse_annotation(content, names=names, path=folder / "Annotations" / f"{stem}.xml")
        except DataSetError as exc:
            problems.append(str(exc))
            continue
        digest.update(f"{stem} {_digest(path)}\n".encode())
        digest.update(content)
        paths.append(path)
        annotations.append(annotation)
    if problems:
        more = f"\nand {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
        raise DataSetError(str(folder), f"split {split!r}:\n" + "\n".join(problems[:MAX_LISTED]) + more)
    return VocPhotos(tuple(names), tuple(paths), tuple(annotations), f"voc:{digest.hexdigest()}")


def parse_annotation(content: bytes, *, names: Sequence[str], path: Path) -> Annotation:
    """One ``<annotation>``. Boxes are cut at the photo's border; one without area is left out and told.

    Raises:
        DataSetError: it is no such XML, or a class is not in ``names``.
    """
    try:
        root = ET.fromstring(content)  # noqa: S314  - size is limited, and expat refuses entity bombs since 2.4.1
    except ET.ParseError as exc:
        raise DataSetError(str(path), f"is not XML: {exc}") from exc
    if root.tag != "annotation":
        raise DataSetError(str(path), f"holds <{root.tag}>: <annotation> is expected")
    width, height = (int(_number(root, f"size/{side}", path)) for side in ("width", "height"))
    if min(width, height) < 1:
        raise DataSetError(str(path), f"<size> is {width}x{height}")
    boxes, classes, findings = [], [], []
    for number, item in enumerate(root.iterfind("object"), start=1):
        name = (item.findtext("name") or "").strip()
        if name not in names:
            raise DataSetError(str(path), f"object {number}: class {name!r} is not one of {', '.join(names)}")
        corners = np.array([_number(item, f"bndbox/{key}", path) for key in ("xmin", "ymin", "xmax", "ymax")])
        box = np.clip(corners, 0, [width, height, width, height])
        if (box[2:] <= box[:2]).any():
            said = ",".join(f"{value:g}" for value in corners)
            findings.append(Finding(path, f"object {number} ({name}): box {said} has no area in the photo: left out"))
            continue
        boxes.append(box)
        classes.append(names.index(name))
    table = np.array(boxes, np.float64).reshape(-1, 4)
    return Annotation(width, height, table, np.array(classes, np.int64), tuple(findings))


def _stems(path: Path) -> list[str]:
    """First field of each line: lists of one class have a second."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.txt"))) or "none"
        raise DataSetError(str(path), f"cannot be read as a list of photos ({exc}); splits here: {known}") from exc
    stems = [line.split()[0] for line in lines if line.strip()]
    if not 0 < len(stems) <= MAX_PHOTOS:
        raise DataSetError(str(path), f"lists {len(stems)} photos: 1 to {MAX_PHOTOS} are possible")
    for stem in stems:
        if Path(stem).name != stem:
            raise DataSetError(str(path), f"{stem!r} is not the name of a photo")
    return stems


def _photo(folder: Path, stem: str) -> Path:
    for suffix in PHOTO_SUFFIXES:
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            return path
    raise DataSetError(str(folder / stem), f"there is no such photo ({', '.join(PHOTO_SUFFIXES)})")


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as exc:
        raise DataSetError(str(path), f"cannot be read: {exc.strerror}") from exc


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_ANNOTATION_BYTES:
            raise DataSetError(str(path), f"is larger than {MAX_ANNOTATION_BYTES} bytes")
        return path.read_bytes()
    except OSError as exc:
        raise DataSetError(str(path), f"cannot be read: {exc.strerror}") from exc


def _number(element: ET.Element, where: str, path: Path) -> float:
    text = element.findtext(where)
    if text is None:
        raise DataSetError(str(path), f"<{where}> is missing")
    try:
        value = float(text)
    except ValueError as exc:
        raise DataSetError(str(path), f"<{where}> is {text!r}: a number is expected") from exc
    if not np.isfinite(value):
        raise DataSetError(str(path), f"<{where}> is {text!r}: a number is expected")
    return value
