"""The API of the ``darknetpy`` package (4.x), which can no longer be installed, on this library.

    from model_wrappers.darknetpy_compat import Detector
    Detector("cfg/coco.data", "cfg/yolov3-tiny.cfg", "yolov3-tiny.weights").detect("data/dog.jpg")

Same arguments, defaults, keys and NMS; a file that Darknet would misread is an error of ``model_wrappers.darknet``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from model_wrappers import darknet, photo
from model_wrappers.darknet.errors import NamesError
from model_wrappers.darknet.thresholds import check_share
from model_wrappers.regular_file import read_start

MAX_DATA_BYTES = 1 << 16
NO_NMS = 1.0  # an IoU that no two boxes exceed

DetectedObject = TypedDict(
    "DetectedObject",
    {"class": str, "prob": float, "left": float, "top": float, "right": float, "bottom": float},
)


class Detector:
    """A Darknet model by its three paths; ``data`` is a Darknet ``.data`` file, of which ``names`` is read."""

    def __init__(self, data: str, cfg: str, weights: str) -> None:
        names = names_of_data(Path(data))
        self._detector = darknet.Detector(darknet.ModelFolder(Path(cfg), Path(weights), names), nms="obj")

    def detect(
        self, path: str, thresh: float = 0.5, hier_thresh: float = 0.5, nms: float = 0.5
    ) -> list[DetectedObject]:
        """Objects of a photo, most probable first; sides in pixels, within the photo.

        ``nms`` 0 keeps overlapping boxes. ``hier_thresh`` is for word trees, which this library refuses: it is only checked.

        Raises:
            PhotoError: the file is no photo, or larger than ``MAX_PHOTO_BYTES``. ValueError: a threshold is not within 0..1.
        """
        for name, value in (("thresh", thresh), ("hier_thresh", hier_thresh), ("nms", nms)):
            check_share(name, value)
        pixels = photo.read(Path(path)).decode()
        found = self._detector.detect(pixels, confidence=thresh, iou=nms or NO_NMS)
        return [
            {
                "class": one.label,
                "prob": one.confidence,
                "left": one.box.x_min,
                "top": one.box.y_min,
                "right": one.box.x_max,
                "bottom": one.box.y_max,
            }
            for one in found
        ]


def names_of_data(path: Path) -> Path:
    """The names file of a ``.data`` file: from the working folder as in Darknet, else from the file's own or the one above."""
    data = read_start(path, MAX_DATA_BYTES + 1)
    if len(data) > MAX_DATA_BYTES:
        raise NamesError(str(path), f"is larger than {MAX_DATA_BYTES:,} bytes: a Darknet .data file has a few lines")
    lines = data.decode("utf-8-sig", errors="replace").splitlines()
    options = [_option(line) for line in lines if "=" in line and not line.lstrip().startswith(("#", ";"))]
    named = next((value for key, value in options if key == "names"), "")  # the first, as in Darknet
    if not named:
        raise NamesError(str(path), "has no names=: a Darknet .data file says where the class names are")
    tried = [Path(named), path.parent / named, path.parent.parent / named]
    for candidate in tried:
        if candidate.is_file():
            return candidate
    raise NamesError(str(path), f"names={named}: no such file ({', '.join(str(candidate) for candidate in tried)})")


def _option(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=")
    return key.strip(), value.strip()
