"""``detector.yaml``: how an exported graph takes a photo and gives its boxes.

    graph: model.onnx          # beside this file
    names: coco.names
    family: yolov8             # yolov5, yolov8 or ssd; every line below may be left out
    input: {order: rgb, layout: nchw, scale: 255, mean: [0, 0, 0], std: [1, 1, 1]}
    outputs: {boxes: boxes, scores: scores, labels: labels}     # ssd: the outputs' names
    boxes: corners             # ssd: corners (x1 y1 x2 y2), corners-yx (y1 x1 y2 x2) or centre (x y w h)
    unit: share                # of boxes: share of the input's sides, or pixel of it
    first_class: 1             # ssd: the number of the first name, 1 where 0 is the background

Families: yolov5 gives [1, N, 5 + classes] (centre in input pixels, objectness, class scores), yolov8 [1, 4 + classes, N]
without objectness (Ultralytics' exports, opset 12 and up), ssd separate tensors [1, N, 4], [1, N] or [1, N, classes] and
perhaps [1, N] (torchvision, TensorFlow's object detection).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

LAYOUT_NAME = "detector.yaml"
MAX_LAYOUT_BYTES = 1 << 16

Family = Literal["yolov5", "yolov8", "ssd"]
Corners = Literal["corners", "corners-yx", "centre"]

_SIZE = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", re.ASCII)


class LayoutError(Exception):
    """A ``detector.yaml``, or the graph that it describes, that cannot be used. Attribute: ``path``."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


@dataclass(frozen=True)
class Picture:
    """What the graph takes: levels divided by ``scale``, minus ``mean``, over ``std`` (per channel of ``order``).

    ``size`` (width, height) is needed where the graph leaves it open.
    """

    order: str = "rgb"
    layout: str = "nchw"
    scale: float = 255.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Outputs:
    """Names of an ssd graph's outputs; ``labels`` is empty where the scores have a column per class."""

    boxes: str = "boxes"
    scores: str = "scores"
    labels: str = ""


@dataclass(frozen=True)
class Layout:
    """A whole ``detector.yaml``; the paths are complete."""

    graph: Path
    names: Path
    family: Family
    picture: Picture = Picture()
    outputs: Outputs = Outputs()
    boxes: Corners = "corners"
    unit: str = "share"
    first_class: int = 0


def load_layout(folder: Path) -> Layout:
    """Read ``folder/detector.yaml``. Raises ``LayoutError`` naming the line that is wrong."""
    path = folder / LAYOUT_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LAYOUT_BYTES + 1)
    except OSError as exc:
        raise LayoutError(path, f"cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_LAYOUT_BYTES:
        raise LayoutError(path, f"is larger than {MAX_LAYOUT_BYTES} bytes")
    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise LayoutError(path, f"is not YAML: {exc}") from exc
    return _Reader(path, "", document).layout()


class _Reader:
    """One mapping of the file; what nobody asked for is an error."""

    def __init__(self, path: Path, title: str, document: object) -> None:
        if not isinstance(document, Mapping):
            raise LayoutError(path, f"{title or 'the file'}: a mapping is expected, found {document!r}")
        self._path, self._title, self._left = path, title, dict(document)

    def layout(self) -> Layout:
        layout = Layout(
            graph=self._file("graph"),
            names=self._file("names"),
            family=self._choice("family", get_args(Family)),
            picture=_Reader(self._path, "input.", self._left.pop("input", {})).picture(),
            outputs=_Reader(self._path, "outputs.", self._left.pop("outputs", {})).outputs(),
            boxes=self._choice("boxes", get_args(Corners), "corners"),
            unit=self._choice("unit", ("share", "pixel"), "share"),
            first_class=int(self._numbers("first_class", 1, [0])[0]),
        )
        self._finish()
        return layout

    def picture(self) -> Picture:
        picture = Picture(
            order=self._choice("order", ("rgb", "bgr"), "rgb"),
            layout=self._choice("layout", ("nchw", "nhwc"), "nchw"),
            scale=self._numbers("scale", 1, [255.0])[0],
            mean=self._numbers("mean", 3, [0.0] * 3),
            std=self._numbers("std", 3, [1.0] * 3),
            size=self._size(),
        )
        self._finish()
        if picture.scale <= 0 or min(picture.std) <= 0:
            raise self._error("scale", "scale and std must be above 0")
        return picture

    def outputs(self) -> Outputs:
        texts = {key: str(self._left.pop(key, default)) for key, default in vars(Outputs()).items()}
        self._finish()
        return Outputs(**texts)

    def _file(self, key: str) -> Path:
        value = Path(str(self._left.pop(key, "")))
        if value.is_absolute() or ".." in value.parts:
            raise self._error(key, f"{str(value)!r} leaves the folder")
        file = self._path.parent / value
        if not file.is_file():
            raise self._error(key, f"{str(value)!r} is no file beside it")
        return file

    def _choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> Any:
        value = self._left.pop(key, default)
        if value not in choices:
            raise self._error(key, f"{value!r} is not one of {', '.join(choices)}")
        return value

    def _numbers(self, key: str, count: int, default: list[float]) -> tuple[float, ...]:
        value = self._left.pop(key, default)
        values = value if isinstance(value, list) else [value]
        good = len(values) == count and all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in values
        )
        if not good:
            raise self._error(key, f"{value!r}: {count} number{'s' * (count > 1)} expected")
        return tuple(values)

    def _size(self) -> tuple[int, int] | None:
        value = self._left.pop("size", None)
        if value is None:
            return None
        match = _SIZE.fullmatch(str(value))
        if match is None:
            raise self._error("size", f"{value!r}: WIDTHxHEIGHT is expected, e.g. 640x640")
        return int(match[1]), int(match[2])

    def _finish(self) -> None:
        if self._left:
            raise self._error(str(next(iter(self._left))), "unknown key")

    def _error(self, key: str, message: str) -> LayoutError:
        return LayoutError(self._path, f"{self._title}{key}: {message}")
