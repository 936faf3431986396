"""How fast a number of replicas may change: stabilisation windows, then policies, then the bounds of the spec.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior. The result
differs from the recommendation only for a reason that ``kubectl describe hpa`` shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slipway.onebox.runner.hpa_spec import Autoscaler, Policy, Rules

SHORTEST_HISTORY_S = 15.0


@dataclass(frozen=True)
class Event:
    """Something at a time: a recommendation, or by how many replicas the target was changed."""

    at: float
    replicas: int


@dataclass(frozen=True)
class History:
    """What an autoscaler remembers, oldest first, no longer than its windows and periods reach back."""

    recommended: tuple[Event, ...] = ()
    added: tuple[Event, ...] = ()
    removed: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Limited:
    """``stabilized`` and ``limited``: reason and message of a condition; ``is_limited`` where a bound or policy acts."""

    replicas: int
    stabilized: tuple[str, str]
    limited: tuple[str, str]
    is_limited: bool


READY = ("ReadyForNewScale", "recommended size matches current size")
UP_STABILIZED = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
DOWN_STABILIZED = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
UP_LIMIT = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_LIMIT = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")


def begun(history: History, replicas: int, now: float) -> History:
    """The number at the first look counts as recommended: a restart of the runner scales nothing down at once."""
    return history if history.recommended else replace(history, recommended=(Event(now, replicas),))


def recommend(history: History, spec: Autoscaler, wanted: int, now: float) -> History:
    longest_s = max(spec.up.window_s, spec.down.window_s, SHORTEST_HISTORY_S)
    return replace(history, recommended=_since([*history.recommended, Event(now, wanted)], now - longest_s))


def changed(history: History, spec: Autoscaler, *, old: int, new: int, now: float) -> History:
    """After the target was given another number of replicas."""
    added = [*history.added, *([Event(now, new - old)] if new > old else [])]
    removed = [*history.removed, *([Event(now, old - new)] if new < old else [])]
    longest_s = max((policy.period_s for rules in (spec.up, spec.down) for policy in rules.policies), default=0)
    return replace(history, added=_since(added, now - longest_s), removed=_since(removed, now - longest_s))


def limit(spec: Autoscaler, history: History, replicas: int, wanted: int, now: float) -> Limited:
    """``replicas`` are those of the target now, ``wanted`` what its metrics ask for."""
    steady = _stabilize(spec, history, replicas, wanted, now)
    why = READY if steady == wanted else UP_STABILIZED if wanted >= replicas else DOWN_STABILIZED
    allowed, reason = steady, WITHIN
    if steady > replicas:
        most = max(replicas, _highest(spec.up, history, replicas, now))
        bound, reason = (spec.maximum, TOO_MANY) if spec.maximum <= most else (most, UP_LIMIT)
        allowed = min(steady, bound)
    elif steady < replicas:
        least = min(replicas, _lowest(spec.down, history, replicas, now))
        bound, reason = (spec.minimum, TOO_FEW) if spec.minimum >= least else (least, DOWN_LIMIT)
        allowed = max(steady, bound)
    is_limited = allowed != steady
    return Limited(allowed, why, reason if is_limited else WITHIN, is_limited)


def _stabilize(spec: Autoscaler, history: History, replicas: int, wanted: int, now: float) -> int:
    """Up only to the lowest recommendation of the window, down only to the highest."""
    lowest = min([wanted, *(item.replicas for item in _since(history.recommended, now - spec.up.window_s))])
    highest = max([wanted, *(item.replicas for item in _since(history.recommended, now - spec.down.window_s))])
    return min(max(replicas, lowest), highest)


def _highest(rules: Rules, history: History, replicas: int, now: float) -> int:
    if rules.select == "Disabled":
        return replicas
    choose = min if rules.select == "Min" else max
    return choose(_raised(policy, _at_start(policy, history, replicas, now)) for policy in rules.policies)


def _raised(policy: Policy, start: int) -> int:
    return math.ceil(start * (100 + policy.value) / 100) if policy.is_percent else start + policy.value


def _lowest(rules: Rules, history: History, replicas: int, now: float) -> int:
    if rules.select == "Disabled":
        return replicas
    choose = max if rules.select == "Min" else min  # the smallest change, or the largest
    return choose(_lowered(policy, _at_start(policy, history, replicas, now)) for policy in rules.policies)


def _lowered(policy: Policy, start: int) -> int:
    return max(0, start * (100 - policy.value) // 100 if policy.is_percent else start - policy.value)


def _at_start(policy: Policy, history: History, replicas: int, now: float) -> int:
    """Replicas when the policy's period began."""
    since = now - policy.period_s
    added = sum(item.replicas for item in _since(history.added, since))
    return replicas - added + sum(item.replicas for item in _since(history.removed, since))


def _since(events: Sequence[Event], cutoff: float) -> tuple[Event, ...]:
    return tuple(item for item in events if item.at > cutoff)
