"""A small folder in Pascal VOC's form, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

NAMES = ("disc", "block")
SIZE = (96, 64)  # width, height

OBJECT = "<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"


def annotation(objects: Sequence[tuple[str, float, float, float, float]], size: tuple[int, int] = SIZE) -> str:
    inner = "".join(OBJECT.format(*box, name=name) for name, *box in objects)
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation>{sides}{inner}</annotation>"


def write_photo(folder: Path, stem: str, seed: int) -> None:
    """One bright disc and one dark block on grey noise, labelled."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(100, 140, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    x, y, radius = int(rng.integers(14, 34)), int(rng.integers(14, 50)), int(rng.integers(8, 13))
    cv2.circle(pixels, (x, y), radius, (250, 240, 60), -1)
    left, top, side = int(rng.integers(50, 70)), int(rng.integers(4, 38)), int(rng.integers(16, 24))
    cv2.rectangle(pixels, (left, top), (left + side, top + side), (10, 20, 60), -1)
    boxes = [("disc", x - radius, y - radius, x + radius, y + radius), ("block", left, top, left + side, top + side)]
    cv2.imwrite(str(folder / "JPEGImages" / f"{stem}.jpg"), pixels)
    (folder / "Annotations" / f"{stem}.xml").write_text(annotation(boxes))


def write_voc(folder: Path, **splits: int) -> Path:
    """``train=8`` makes a split of eight photos."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    seed = 0
    for split, count in splits.items():
        stems = [f"{split}-{number}" for number in range(count)]
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
        for stem in stems:
            write_photo(folder, stem, seed)
            seed += 1
    return folder
