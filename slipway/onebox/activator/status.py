"""The status of a ScaledObject, in KEDA's words: its conditions Ready and Active."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]


def scaled_object_status(scaled_object: Object, *, is_active: bool, problem: str = "") -> dict[str, Any] | None:
    """The status that it should have; None where it has it. ``problem``: why it is not carried out."""
    ready = (
        _condition("Ready", is_true=False, reason="ScaledObjectCheckFailed", message=problem)
        if problem
        else _condition(
            "Ready",
            is_true=True,
            reason="ScaledObjectReady",
            message="ScaledObject is defined correctly and is ready for scaling",
        )
    )
    active = (
        _condition("Active", is_true=True, reason="ScalerActive", message="Scaling is performed because requests come")
        if is_active
        else _condition("Active", is_true=False, reason="ScalerNotActive", message="at rest: no request has come")
    )
    wanted = {"conditions": [ready, active]}
    status = scaled_object.get("status") or {}
    return None if all(status.get(key) == value for key, value in wanted.items()) else wanted


def _condition(kind: str, *, is_true: bool, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": str(is_true), "reason": reason, "message": message}
