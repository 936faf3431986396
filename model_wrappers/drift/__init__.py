"""Whether photos and detections still look as they did when the model was registered, without any labels."""

from model_wrappers.drift.component import DetectionDrift
from model_wrappers.drift.reference import (
    REFERENCE_NAME,
    DriftReferenceError,
    Reference,
    build_reference,
    load_reference,
    photos_in,
)

__all__ = [
    "REFERENCE_NAME",
    "DetectionDrift",
    "DriftReferenceError",
    "Reference",
    "build_reference",
    "load_reference",
    "photos_in",
]
