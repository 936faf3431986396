"""The learning rate over a training: a linear rise, then half a cosine down (Loshchilov and Hutter, "SGDR", 2016)."""

from __future__ import annotations

import math

from model_wrappers.darknet.training.settings import Settings


def rate_at(step: int, steps: int, settings: Settings) -> float:
    """Rate of ``step`` (from 0) of ``steps``."""
    rising = round(steps * settings.warm_up)
    if step < rising:
        return settings.rate * (step + 1) / rising
    share = (step - rising) / max(1, steps - rising)
    low = settings.rate * settings.final_rate
    return low + (settings.rate - low) * (1 + math.cos(math.pi * share)) / 2
