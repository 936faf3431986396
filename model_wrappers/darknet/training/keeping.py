"""Checkpoints into a place that may be away for a while: one that is missed is told, and made again a period later."""

from __future__ import annotations

import sys
from collections.abc import Callable

from model_wrappers.darknet.training.checkpoint import Checkpoint, keep_checkpoint
from model_wrappers.darknet.training.errors import PlaceError
from model_wrappers.darknet.training.places import Place

MAX_MISSED = 10
"""Checkpoints in a row. What is lost by a power cut grows with each, so that it does not go on for ever."""


class CheckpointKeeper:
    """``is_last`` says of a checkpoint that none comes after it: that one, and one after ``MAX_MISSED``, must be written."""

    def __init__(self, place: Place, is_last: Callable[[Checkpoint], bool]) -> None:
        self.place = place
        self.is_last = is_last
        self.missed = 0

    def __call__(self, checkpoint: Checkpoint) -> None:
        try:
            keep_checkpoint(self.place, checkpoint)
        except PlaceError as exc:
            self.missed += 1
            if self.missed > MAX_MISSED or self.is_last(checkpoint):
                raise
            print(f"warning: no checkpoint after step {checkpoint.step}, a later one is tried: {exc}", file=sys.stderr)
        else:
            self.missed = 0
