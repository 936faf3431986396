"""Candidates as a table of boxes by classes, which is what a plain loop works on."""

from __future__ import annotations

import numpy as np

from model_wrappers.darknet.candidates import Candidates, Pairs


def from_table(centres: np.ndarray, objectness: np.ndarray, probabilities: np.ndarray) -> Candidates:
    """``probabilities`` [K, classes] is 0 where a box is not of a class."""
    box, class_id = np.nonzero(probabilities)
    return Candidates(centres, objectness, Pairs(box, class_id, probabilities[box, class_id]))


def to_table(candidates: Candidates, classes: int) -> np.ndarray:
    """[K, classes], 0 where a box is not of a class."""
    table = np.zeros((len(candidates.objectness), classes))
    table[candidates.pairs.box, candidates.pairs.class_id] = candidates.pairs.confidence
    return table
