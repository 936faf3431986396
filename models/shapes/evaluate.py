"""mAP@0.5 of a shapes model on photos that training never saw."""

from __future__ import annotations

from pathlib import Path

from model_wrappers.darknet.detector import Detector
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.training.precision import CONFIDENCE, detector_precision
from models.shapes.data import HELD_OUT, DrawnShapes

HERE = Path(__file__).parent
PHOTOS = 200

__all__ = ["HELD_OUT", "held_out_map", "shapes_model"]


def shapes_model(version: int) -> ModelFolder:
    """The files of version 1 (brief training) or 2."""
    return ModelFolder(HERE / "shapes.cfg", HERE / f"v{version}" / "shapes.weights", HERE / "shapes.names")


def held_out_map(model: ModelFolder, *, photos: int = PHOTOS) -> float:
    """mAP@0.5, 0 to 1."""
    detector = Detector(model, confidence=CONFIDENCE)
    return detector_precision(detector, DrawnShapes(photos, first=HELD_OUT)).map50
