"""A small model's files and their proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from model_wrappers.darknet.proof import Proof, prove
from tests.darknet.networks import CELL, write_handmade_model


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_handmade_model(tmp_path_factory.mktemp("sources"))
    cv2.imwrite(str(folder / "red.png"), red_photo()[..., ::-1])
    return folder


def red_photo() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """RGB; its upper left cell is red."""
    pixels = np.zeros((2 * CELL, 2 * CELL, 3), np.uint8)
    pixels[:CELL, :CELL, 0] = 255
    return pixels


def files_of(folder: Path) -> dict[str, Path]:
    return {kind: folder / f"cells.{kind}" for kind in ("cfg", "weights", "names")}


@pytest.fixture(scope="module")
def proof(sources: Path) -> Proof:
    return prove(*files_of(sources).values(), photos=[sources / "red.png"], threads=1, engines=["onnxruntime"])
