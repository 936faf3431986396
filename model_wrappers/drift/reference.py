"""What a model's photos and detections looked like when it was registered: ``drift-reference.json`` of its folder.

Form: ``{"format": 1, "confidence": C, "labels": [...], "photos": [{"brightness": B, "detections": [[class, confidence,
side], ...]}, ...]}``, where ``class`` is a place in ``labels``, and detections are those above the confidence ``C``. Single
photos are kept, not histograms: whoever compares chooses the confidence, and how much chance alone changes is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from model_wrappers import photo
from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.errors import DarknetError
from model_wrappers.darknet.letterbox import Pixels, Size, letterbox
from model_wrappers.drift.facts import Seen, brightness, seen
from model_wrappers.regular_file import read_start

REFERENCE_NAME = "drift-reference.json"
FORMAT = 1
FLOOR = 0.05  # confidence: the reference holds what any sensible threshold lets through
MIN_PHOTOS, MAX_PHOTOS = 50, 1000
MAX_LABELS = 10_000  # each is a column of counts beside MAX_PHOTOS rows
MAX_BYTES = 16 << 20
DECIMALS = 4
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


class DriftReferenceError(DarknetError):
    """No reference can be made, or none can be read; the text says what would be right."""


@dataclass(frozen=True)
class PhotoFacts:
    """``brightness`` is 0 to 255."""

    brightness: float
    detections: tuple[Seen, ...]


@dataclass(frozen=True)
class Reference:
    """``confidence``: detections above it are there."""

    confidence: float
    labels: tuple[str, ...]
    photos: tuple[PhotoFacts, ...]

    def to_json(self) -> str:
        """The file's text: one photo a line."""
        place = {label: index for index, label in enumerate(self.labels)}
        rows = [
            {
                "brightness": round(one.brightness, 2),
                "detections": [
                    [place[found.label], round(found.confidence, DECIMALS), round(found.side, DECIMALS)]
                    for found in one.detections
                ],
            }
            for one in self.photos
        ]
        head = json.dumps({"format": FORMAT, "confidence": self.confidence, "labels": list(self.labels)})
        lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        return f'{head[:-1]}, "photos": [\n{lines}\n]}}\n'

    def write(self, folder: Path) -> None:
        """Into a model folder."""
        (folder / REFERENCE_NAME).write_text(self.to_json())


class PhotoDetector(Protocol):
    """``model_wrappers.darknet.Detector``, or another one like it."""

    @property
    def input(self) -> Size:
        """The network's."""

    @property
    def names(self) -> Sequence[str]:
        """Of the classes."""

    def detect_letterboxed(
        self, pixels: Pixels, photo: Size, *, confidence: float | None = None, iou: float | None = None
    ) -> list[Detection]:
        """Detections of one photo."""


def photos_in(folder: Path) -> list[Path]:
    """The photos of a folder, by their suffix, sorted. Raises DriftReferenceError where they are too few."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    _check_count(len(found), f"{folder}: ")
    return found


def build_reference(detector: PhotoDetector, photos: Sequence[Path]) -> Reference:
    """Look at ``photos`` with the model: at every one, or at ``MAX_PHOTOS`` of them, evenly spaced.

    Raises:
        DriftReferenceError: there are too few. PhotoError, OSError: one is no photo.
    """
    _check_count(len(photos), "")
    step = max(1.0, len(photos) / MAX_PHOTOS)
    chosen = [photos[int(place * step)] for place in range(min(len(photos), MAX_PHOTOS))]
    return Reference(FLOOR, tuple(detector.names), tuple(_look(detector, path) for path in chosen))


def _check_count(photos: int, where: str) -> None:
    if photos < MIN_PHOTOS:
        raise DriftReferenceError(
            f"{where}{photos} photos for the drift reference: at least {MIN_PHOTOS} such as the model will be sent are needed"
        )


def _look(detector: PhotoDetector, path: Path) -> PhotoFacts:
    rgb = photo.read(path).decode()
    size = Size(rgb.shape[1], rgb.shape[0])
    pixels = letterbox(rgb, detector.input)
    found = detector.detect_letterboxed(pixels, size, confidence=FLOOR)
    return PhotoFacts(brightness(pixels, size), seen(found, size, above=FLOOR))


def load_reference(folder: Path) -> Reference:
    """Read ``drift-reference.json`` of a model folder.

    Raises:
        DriftReferenceError: there is none, or it is none.
    """
    path = folder / REFERENCE_NAME
    try:
        data = read_start(path, MAX_BYTES + 1)
    except FileNotFoundError as exc:
        raise DriftReferenceError(
            f"{path}: is not there: register the model with its photos, slipway model register --drift-reference FOLDER"
        ) from exc
    if len(data) > MAX_BYTES:
        raise DriftReferenceError(f"{path}: is larger than {MAX_BYTES:,} bytes")
    try:
        return _parse(json.loads(data))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as exc:
        raise DriftReferenceError(f"{path}: is no drift reference: {type(exc).__name__}: {exc}") from exc


def _parse(document: Any) -> Reference:
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']!r}, {FORMAT} is read here")
    labels, confidence, rows = _labels(document["labels"]), _share(document["confidence"]), document["photos"]
    if not MIN_PHOTOS <= len(rows) <= MAX_PHOTOS:
        raise ValueError(f"{len(rows)} photos, {MIN_PHOTOS} to {MAX_PHOTOS} are expected")
    return Reference(confidence, labels, tuple(_photo(row, labels) for row in rows))


def _labels(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(label, str) for label in given) or len(given) > MAX_LABELS:
        raise ValueError(f"labels: a list of at most {MAX_LABELS} texts is expected")
    return tuple(given)


def _photo(row: Any, labels: Sequence[str]) -> PhotoFacts:
    found = tuple(
        Seen(_label(labels, place), _share(confidence), _share(side)) for place, confidence, side in row["detections"]
    )
    level = float(row["brightness"])
    if not 0 <= level <= 255:
        raise ValueError(f"brightness {level} is not within 0..255")
    return PhotoFacts(level, found)


def _label(labels: Sequence[str], place: Any) -> str:
    if type(place) is not int or not 0 <= place < len(labels):
        raise ValueError(f"class {place!r:.40} is no place among {len(labels)} labels")
    return labels[place]


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is not within 0..1")
    return share
