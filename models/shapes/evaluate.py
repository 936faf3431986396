"""mAP@0.5 of a shapes model on photos that training never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_wrappers.darknet.average_precision import Found, Truth, average_precisions, mean
from model_wrappers.darknet.detector import Detector
from model_wrappers.darknet.folder import ModelFolder
from models.shapes.draw import draw

HERE = Path(__file__).parent
HELD_OUT = 10_000_000  # first seed; training draws from 0 up
PHOTOS = 200
CONFIDENCE = 0.01  # mAP wants the doubtful boxes too


def shapes_model(version: int) -> ModelFolder:
    """The files of version 1 (brief training) or 2."""
    return ModelFolder(HERE / "shapes.cfg", HERE / f"v{version}" / "shapes.weights", HERE / "shapes.names")


def held_out_map(model: ModelFolder, *, photos: int = PHOTOS) -> float:
    """mAP@0.5, 0 to 1."""
    detector = Detector(model, confidence=CONFIDENCE)
    pairs = []
    for seed in range(HELD_OUT, HELD_OUT + photos):
        drawn = draw(seed)
        found = detector.detect(drawn.pixels)
        corners = [[item.box.x_min, item.box.y_min, item.box.x_max, item.box.y_max] for item in found]
        pairs.append(
            (
                Truth(drawn.boxes, drawn.classes),
                Found(
                    boxes=np.array(corners, dtype=np.float64).reshape(-1, 4),
                    classes=np.array([item.class_id for item in found], dtype=np.int64),
                    scores=np.array([item.confidence for item in found], dtype=np.float64),
                ),
            )
        )
    return mean(average_precisions(pairs))
