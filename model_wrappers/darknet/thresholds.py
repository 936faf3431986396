"""Confidence and IoU: shares, and nothing else."""

from __future__ import annotations


def check_share(name: str, value: float) -> float:
    """``value``. Raises ``ValueError`` naming it where it is no number from 0 to 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value}: a number from 0 to 1 is expected")
    return float(value)
