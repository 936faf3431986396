"""A condition of a status: its time is that of its last change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]


def condition(
    name: str, *, value: bool, reason: str, message: str, now: str, before: Mapping[str, Any] | None
) -> Object:
    """``before`` is the condition of the same type in the present status; ``now`` is RFC 3339."""
    text = "True" if value else "False"
    since = before["lastTransitionTime"] if before and before["status"] == text else now
    optional = {key: said for key, said in (("reason", reason), ("message", message)) if said}
    return {"type": name, "status": text, "lastTransitionTime": since, **optional}
