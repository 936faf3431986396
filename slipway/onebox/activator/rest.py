"""When a Deployment goes to rest and when it wakes: values in, the wanted number of replicas out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from slipway.contract.keda import may_rest

Object = Mapping[str, Any]
COOLDOWN_S = 300.0
"""KEDA's default ``cooldownPeriod``."""


@dataclass(frozen=True)
class Bounds:
    """``awake``: replicas that it has at least while it is not at rest."""

    rests: bool
    awake: int
    cooldown_s: float


@dataclass(frozen=True)
class Traffic:
    """What both gateways counted together. ``total`` requests ever; ``active`` are not answered yet."""

    total: int
    active: int


@dataclass(frozen=True)
class Activity:
    """What is remembered of one Deployment. ``busy_at``: when it was last seen at work, in seconds of the caller's clock."""

    busy_at: float
    total: int | None = None


def read_bounds(scaled_object: Object) -> Bounds:
    """KEDA's fields; a number below 0 or of another type counts as absent."""
    spec = scaled_object.get("spec") or {}
    least = _number(spec.get("minReplicaCount"))
    cooldown = _number(spec.get("cooldownPeriod"))
    return Bounds(may_rest(spec), max(1, least or 0), COOLDOWN_S if cooldown is None else float(cooldown))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def replicas_of(deployment: Object) -> int:
    """Declared; 1 where nothing is."""
    return int((deployment.get("spec") or {}).get("replicas", 1))


def is_starting(deployment: Object) -> bool:
    """None of its Pods is ready yet, and it has not given up: it must not go to rest before it could answer once."""
    status = deployment.get("status") or {}
    if status.get("readyReplicas"):
        return False
    return not any(
        item.get("type") == "Progressing" and item.get("status") == "False" for item in status.get("conditions") or ()
    )


def observe(old: Activity | None, traffic: Traffic | None, *, at_work: bool, now: float) -> Activity:
    """``at_work``: it starts, or requests wait for it. Traffic that could not be read counts as traffic.

    A total that differs is traffic since the last look; also one that is lower, after a gateway started anew.
    """
    total = traffic.total if traffic else None
    is_quiet = old is not None and traffic is not None and not at_work and not traffic.active
    if old is not None and is_quiet and total == old.total:
        return old
    return replace(old or Activity(now), busy_at=now, total=total)


def wanted_replicas(bounds: Bounds, replicas: int, activity: Activity, *, held: int, now: float) -> int | None:
    """None: leave it as it is. Waking comes before all else."""
    if held and replicas == 0:
        return bounds.awake
    if replicas == 0:
        return None if bounds.rests else bounds.awake
    if bounds.rests and not held and now - activity.busy_at >= bounds.cooldown_s:
        return 0
    return bounds.awake if replicas < bounds.awake else None
