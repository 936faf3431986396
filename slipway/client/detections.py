"""A SeldonMessage with detections → typed values. Boxes are pixels of the photo as it was sent, upright."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from slipway.client.errors import UnexpectedReply
from slipway.client.photo import Photo
from slipway.client.reply import ModelVersion, Reply
from slipway.contract.following import printable

if TYPE_CHECKING:
    from slipway.client.draw import Picture

SIDES = ("x_min", "y_min", "x_max", "y_max")


@dataclass(frozen=True)
class Box:
    """Corners; (0, 0) is the photo's upper left corner."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    @property
    def width(self) -> float:
        return self.x_max - self.x_min

    @property
    def height(self) -> float:
        return self.y_max - self.y_min


@dataclass(frozen=True)
class Detection:
    """One class of one box; ``class_id`` is None where the reply names classes only."""

    label: str
    confidence: float
    box: Box
    class_id: int | None = None


@dataclass(frozen=True)
class Size:
    """Pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Detections(Sequence[Detection]):
    """What was found on one photo, most confident first; a sequence of Detection.

    ``photo`` is its size and ``model`` the version that answered, each None where the reply does not say.
    """

    found: tuple[Detection, ...]
    photo: Size | None
    model: ModelVersion | None
    reply: Reply = field(repr=False)

    @property
    def predictor(self) -> str:
        """Which predictor of the SeldonDeployment answered; "" where no header says so."""
        return self.reply.predictor

    @property
    def labels(self) -> Counter[str]:
        """How many of each."""
        return Counter(one.label for one in self.found)

    @overload
    def __getitem__(self, index: int) -> Detection: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Detection, ...]: ...
    def __getitem__(self, index: int | slice) -> Detection | tuple[Detection, ...]:
        return self.found[index]

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Detection]:
        return iter(self.found)

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {label}" for label, count in self.labels.most_common()) or "nothing"
        said = [str(self.model) if self.model else "", self.predictor, f"{self.reply.elapsed_ms:.0f} ms"]
        return printable(f"{counted} ({', '.join(part for part in said if part)})")

    def draw(self, photo: Photo, *, max_side: int | None = None) -> Picture:
        """The photo with its boxes; it must be the one that was sent. Needs OpenCV.

        Raises:
            InvalidPhoto: it cannot be decoded, or has another size than the one that was sent.
        """
        from slipway.client.draw import draw

        return draw(photo, self, max_side=max_side)


def parse_detections(reply: Reply) -> Detections:
    """From ``jsonData.detections``, or from the rows ``[label, confidence, [x, y, width, height]]`` of the tutorial.

    Raises:
        UnexpectedReply: it holds neither, or values that make no box.
    """
    body = reply.message.get("jsonData", reply.message)
    try:
        if isinstance(body, Mapping) and isinstance(rows := body.get("detections"), list):
            found = tuple(_detection(row) for row in rows)
        elif isinstance(body, Mapping) and "uid" in body and isinstance(rows := body.get("data"), list):
            found = tuple(_tutorial_detection(row) for row in rows)
        else:
            raise UnexpectedReply(_no_detections(reply.message))
        return Detections(found, _size(body.get("image")), _model(body.get("model")) or reply.model, reply)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise UnexpectedReply(f"the reply's detections cannot be read: {type(exc).__name__}: {exc}") from exc


def _no_detections(message: Mapping[str, Any]) -> str:
    kind = ", ".join(sorted(map(str, message))) or "nothing"
    return f"the reply holds no jsonData.detections but {kind[:200]}: is it a detector? predict() gives the whole reply"


def _detection(row: Mapping[str, Any]) -> Detection:
    class_id = row.get("class_id")
    box = Box(*(_finite(row["box"][side]) for side in SIDES))
    return Detection(str(row["label"]), _finite(row["confidence"]), box, None if class_id is None else int(class_id))


def _tutorial_detection(row: Sequence[Any]) -> Detection:
    label, confidence, (x, y, width, height) = row
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Detection(str(label), _finite(confidence), Box(*map(_finite, corners)))


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number


def _size(image: Mapping[str, Any] | None) -> Size | None:
    return Size(int(image["width"]), int(image["height"])) if image else None


def _model(model: Mapping[str, Any] | None) -> ModelVersion | None:
    if not model:
        return None
    return ModelVersion(str(model["name"]), str(model.get("version") or ""), str(model.get("digest") or ""))
