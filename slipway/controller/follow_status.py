"""What the status and the Events say of followed aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from slipway.contract.following import Following
from slipway.controller.alias_watch import AWAY, NOT_FOUND, Lost
from slipway.controller.conditions import condition

FOLLOWED = "AliasFollowed"
"""Condition of a SeldonDeployment that follows aliases; it has no part in ``Ready``."""
NOT_READY, STARTING, ROLLED_BACK, UP_TO_DATE = "RevisionNotReady", "Starting", "RolledBack", "UpToDate"
WARNINGS = frozenset({AWAY, NOT_FOUND, NOT_READY})
Object = dict[str, Any]


@dataclass(frozen=True)
class Followers:
    """``states`` by predictor; ``lost`` says why an alias cannot be followed now."""

    states: Mapping[str, Following] = field(default_factory=dict)
    lost: Lost | None = None
    history: Sequence[Object] = ()


def follow_conditions(followers: Followers, *, now: str, old: Sequence[Mapping[str, Any]]) -> list[Object]:
    """The condition AliasFollowed, where something follows."""
    if not followers.states:
        return []
    value, reason, message = _follow_state(followers)
    before = next((item for item in old if item["type"] == FOLLOWED), None)
    return [condition(FOLLOWED, value=value, reason=reason, message=message, now=now, before=before)]


def _follow_state(followers: Followers) -> tuple[bool, str, str]:
    """(whether all is as the aliases say, reason, sentence), the most urgent first."""
    states = [state for _, state in sorted(followers.states.items())]
    broken = [state for state in states if state.reason]
    if broken:
        return False, NOT_READY, "; ".join(map(_not_ready, broken))
    if followers.lost:
        return False, followers.lost.reason, f"what serves goes on serving: {followers.lost.message}"
    if moving := [state for state in states if not state.is_settled]:
        return False, STARTING, "; ".join(state.plan or f"{state.predictor}: {state.wanted.name}" for state in moving)
    if rejected := [state for state in states if state.rejected]:
        parts = (f"{state.predictor}: {', '.join(state.rejected.values())}" for state in rejected)
        return False, ROLLED_BACK, f"the alias still names what was rolled back from: {'; '.join(parts)}"
    return True, UP_TO_DATE, ""


@dataclass(frozen=True)
class News:
    """What an Event says."""

    reason: str
    message: str
    kind: Literal["Normal", "Warning"]


def follow_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> News | None:
    """What is new about the followed aliases between two statuses: once per change, not once per look."""
    before, after = (_condition_of(status) for status in (old, new))
    if after is None or (before or {}).get("reason") == after.get("reason"):
        return None
    was, reason = (before or {}).get("reason"), str(after["reason"])
    message = str(after.get("message") or "")
    if reason in WARNINGS:
        return News(reason, message, "Warning")
    if was == AWAY:
        return News("RegistryBack", "followed aliases are looked up again", "Normal")
    if reason == UP_TO_DATE and was is not None:
        served = "; ".join(f"{item['predictor']}: {item['serving']}" for item in new["following"])
        return News("RevisionServes", served, "Normal")
    return None


def _condition_of(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((item for item in status.get("conditions") or () if item["type"] == FOLLOWED), None)


def _not_ready(state: Following) -> str:
    served = state.revision(state.serving)
    serves = f"; {served.name} goes on serving" if served else ""
    return f"{state.predictor}: {state.wanted.name} is not ready: {state.reason} {state.last_error}".rstrip() + serves
