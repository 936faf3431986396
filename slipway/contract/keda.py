"""What a ``kedaSpec``, the spec of KEDA's ScaledObject, means where KEDA is and on one machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

HERE = ("cpu", "memory")
"""Types of triggers that one machine measures itself."""
MAX_REPLICAS = 100
"""KEDA's default ``maxReplicaCount``."""
_ELSEWHERE = {
    "pollingInterval": "the gateway's counters are read ten times per cooldownPeriod",
    "advanced": "KEDA reads it, and only a cluster has KEDA",
    "fallback": "KEDA reads it, and only a cluster has KEDA",
    "initialCooldownPeriod": "a Deployment does not rest before it was ready once",
}
"""Field → why nothing comes of it on one machine."""


def may_rest(spec: Mapping[str, Any]) -> bool:
    """KEDA's rule: ``minReplicaCount`` is 0 where it is absent, and ``idleReplicaCount`` can only be 0."""
    return spec.get("idleReplicaCount") == 0 or (spec.get("minReplicaCount") or 0) == 0


def rests_only_here(spec: Mapping[str, Any]) -> bool:
    """It may rest, and yet KEDA keeps one replica: it goes to 0 only with a trigger besides ``cpu`` and ``memory``.

    https://keda.sh/docs/2.13/scalers/cpu and .../memory
    """
    triggers = [item for item in spec.get("triggers") or () if isinstance(item, Mapping)]
    return may_rest(spec) and all(item.get("type") in HERE for item in triggers)


def without_effect_here(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Field and reason, for each that only a cluster carries out."""
    for name, reason in _ELSEWHERE.items():
        if spec.get(name) is not None:
            yield name, reason
    for index, trigger in enumerate(spec.get("triggers") or ()):
        kind = trigger.get("type") if isinstance(trigger, Mapping) else None
        if kind not in HERE:
            yield (
                f"triggers[{index}]",
                f"one machine scales on {', '.join(HERE)} and on requests; only a cluster has KEDA",
            )
