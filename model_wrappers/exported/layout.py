"""``detector.yaml``: how an exported graph takes a photo and gives its boxes.

    graph: model.onnx          # beside this file
    names: coco.names
    family: ssd                # yolov5, yolov8 or ssd; every line below may be left out
    input: {order: rgb, layout: nchw, scale: 255, mean: [0, 0, 0], std: [1, 1, 1], size: 300x300}
    outputs: {boxes: boxes, scores: scores, labels: labels}     # ssd only: the outputs' names
    boxes: corners             # ssd only: corners (x1 y1 x2 y2), corners-yx (y1 x1 y2 x2) or centre (x y w h)
    unit: share                # ssd only: boxes as shares of the input's sides, or in its pixels (pixel)
    first_class: 1             # ssd only: the number of the first name, 1 where 0 is the background; else 0

The values shown are the defaults but for ``labels`` (none: the scores have a column per class), ``first_class`` (0) and
``size`` (the graph's own; needed where it leaves it open).

Families: yolov5 gives [1, N, 5 + classes] (centre in input pixels, objectness, class scores), yolov8 [1, 4 + classes, N]
without objectness (Ultralytics' exports, opset 12 and up), ssd separate tensors [1, N, 4], [1, N] or [1, N, classes] and
perhaps [1, N] (torchvision, TensorFlow's object detection).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from model_wrappers.darknet.cfg import MAX_CLASSES
from model_wrappers.darknet.letterbox import parse_size
from model_wrappers.darknet.sections import parse_number, quoted
from model_wrappers.plain_yaml import Plain, parse_plain
from model_wrappers.regular_file import read_start

LAYOUT_NAME = "detector.yaml"
MAX_LAYOUT_BYTES = 1 << 14

Family = Literal["yolov5", "yolov8", "ssd"]
Corners = Literal["corners", "corners-yx", "centre"]

_SSD_ONLY = ("outputs", "boxes", "unit", "first_class")


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
        data = read_start(path, MAX_LAYOUT_BYTES + 1)
    except OSError as exc:
        raise LayoutError(path, f"cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_LAYOUT_BYTES:
        raise LayoutError(path, f"is larger than {MAX_LAYOUT_BYTES} bytes")
    try:
        document = parse_plain(data)
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise LayoutError(path, f"is not YAML that can be used: {' '.join(str(exc).split())}") from exc
    return _Reader(path, "", document).layout()


class _Reader:
    """One mapping of the file; what nobody asked for is an error."""

    def __init__(self, path: Path, title: str, document: Plain) -> None:
        if not isinstance(document, dict):
            where = title.rstrip(".") or "the file"
            raise LayoutError(path, f"{where}: a mapping is expected, found {_shown(document)}")
        self._path, self._title, self._left = path, title, dict(document)

    def layout(self) -> Layout:
        graph, names = self._file("graph"), self._file("names")
        family: Family = self._choice("family", get_args(Family))
        for key in _SSD_ONLY:
            if family != "ssd" and key in self._left:
                raise self._error(key, f"only an ssd has it: a {family} says where its boxes are")
        layout = Layout(
            graph=graph,
            names=names,
            family=family,
            picture=_Reader(self._path, "input.", self._left.pop("input", {})).picture(),
            outputs=_Reader(self._path, "outputs.", self._left.pop("outputs", {})).outputs(),
            boxes=self._choice("boxes", get_args(Corners), "corners"),
            unit=self._choice("unit", ("share", "pixel"), "share"),
            first_class=self._first_class(),
        )
        self._finish()
        return layout

    def picture(self) -> Picture:
        picture = Picture(
            order=self._choice("order", ("rgb", "bgr"), "rgb"),
            layout=self._choice("layout", ("nchw", "nhwc"), "nchw"),
            scale=self._numbers("scale", Picture.scale)[0],
            mean=self._numbers("mean", *Picture.mean),
            std=self._numbers("std", *Picture.std),
            size=self._size(),
        )
        self._finish()
        if picture.scale <= 0 or min(picture.std) <= 0:
            raise self._error("scale", "scale and std must be above 0")
        return picture

    def outputs(self) -> Outputs:
        texts = {key: self._text(key, default) for key, default in vars(Outputs()).items()}
        self._finish()
        return Outputs(**texts)

    def _text(self, key: str, default: str) -> str:
        value = self._left.pop(key, default)
        if not isinstance(value, str):
            raise self._error(key, f"{_shown(value)}: a name is expected")
        return value

    def _file(self, key: str) -> Path:
        name = self._text(key, "")
        value = Path(name)
        if value.is_absolute() or ".." in value.parts:
            raise self._error(key, f"{_shown(name)} leaves the folder")
        file = self._path.parent / value
        try:
            found = file.is_file()
        except OSError as exc:
            raise self._error(key, f"{_shown(name)}: {exc.strerror}") from exc
        if not found:
            raise self._error(key, f"{_shown(name)} is no file beside it")
        return file

    def _choice(self, key: str, choices: tuple[str, ...], default: str = "") -> Any:
        value = self._left.pop(key, default)
        if value not in choices:
            raise self._error(key, f"{_shown(value)} is not one of {', '.join(choices)}")
        return value

    def _numbers(self, key: str, *default: float) -> tuple[float, ...]:
        """As many as ``default`` has; one may stand alone."""
        if key not in self._left:
            return default
        value = self._left.pop(key)
        items = value if isinstance(value, list) else [value]
        numbers = tuple(parse_number(item) if isinstance(item, str) else None for item in items)
        found = tuple(number for number in numbers if number is not None)
        if not len(found) == len(items) == len(default):
            raise self._error(key, f"{_shown(value)}: {len(default)} number{'s' * (len(default) > 1)} expected")
        return found

    def _first_class(self) -> int:
        value = self._numbers("first_class", 0.0)[0]
        if not (value.is_integer() and 0 <= value <= MAX_CLASSES):
            raise self._error("first_class", f"{value:g}: a whole number from 0 to {MAX_CLASSES} is expected")
        return int(value)

    def _size(self) -> tuple[int, int] | None:
        if "size" not in self._left:
            return None
        value = self._left.pop("size")
        if not isinstance(value, str):
            raise self._error("size", f"{_shown(value)}: WIDTHxHEIGHT is expected")
        try:
            return parse_size("size", value)
        except ValueError as exc:
            raise self._error("size", f"{_shown(value)}: WIDTHxHEIGHT is expected") from exc

    def _finish(self) -> None:
        if self._left:
            raise self._error(quoted(next(iter(self._left))), "unknown key")

    def _error(self, key: str, message: str) -> LayoutError:
        return LayoutError(self._path, f"{self._title}{key}: {message}")


def _shown(value: Plain) -> str:
    return quoted(repr(value))
