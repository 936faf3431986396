"""Replies as values."""

from __future__ import annotations

from typing import Any

from slipway.drill.reply import Reply

MODEL = "shapes/1 sha256:aa"


def detection(label: str = "dog", *, x: float = 10.0, confidence: float = 0.9) -> dict[str, Any]:
    return {"label": label, "confidence": confidence, "box": {"x_min": x, "y_min": 1.0, "x_max": x + 5, "y_max": 9.0}}


def reply(at: float, *, took: float = 0.1, status: int = 200, **fields: Any) -> Reply:
    """Due and sent at ``at``, a dog's box in it."""
    defaults = {"photo": 0, "model": MODEL, "error": "" if status == 200 else "no", "detections": (detection(),)}
    return Reply(due=at, sent=at, done=at + took, status=status, **{**defaults, **fields})
