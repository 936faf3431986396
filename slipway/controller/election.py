"""Who may write: the algorithm of client-go's leader election over one Lease (coordination.k8s.io/v1), as values.

No clock is compared with another machine's: a candidate measures how long it has seen the Lease unchanged. A leader counts
from before the request that renewed it was sent, and stops after ``renew_s``; another one takes over no sooner than
``lease_s`` after it saw that renewal. So there are never two, as long as the clocks run equally fast.
https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from slipway.kube.times import micro_time

Spec = Mapping[str, Any]
LEASE_S, RENEW_S, RETRY_S = 15.0, 10.0, 2.0


@dataclass(frozen=True)
class Timing:
    """Seconds: how long a silent leader is waited for, how long it goes on without a renewal, the pause between two tries."""

    lease_s: float = LEASE_S
    renew_s: float = RENEW_S
    retry_s: float = RETRY_S

    def __post_init__(self) -> None:
        if not self.lease_s > self.renew_s > self.retry_s > 0:
            raise ValueError(f"{self}: lease_s > renew_s > retry_s > 0 is needed")


@dataclass(frozen=True)
class Candidate:
    """What one process knows. Times are seconds of its own clock, which never goes back.

    ``seen`` is the Lease's spec as last read or written, None before that; ``renewed_at``: when the last request began by
    which this candidate holds it, None where it does not.
    """

    identity: str
    timing: Timing = field(default_factory=Timing)
    seen: Spec | None = None
    seen_at: float = 0.0
    renewed_at: float | None = None

    @property
    def holder(self) -> str:
        return str((self.seen or {}).get("holderIdentity") or "")

    def may_write(self, now: float) -> bool:
        """Whether nobody else can have taken over yet."""
        return self.renewed_at is not None and now < self.renewed_at + self.timing.renew_s

    def left_s(self, now: float) -> float:
        """For how long it may write without another renewal."""
        return max(0.0, self.renewed_at + self.timing.renew_s - now) if self.renewed_at is not None else 0.0

    def observed(self, spec: Spec, *, now: float) -> Candidate:
        """After ``spec`` was read. Whoever is not its holder leads no more."""
        known = self if spec == self.seen else replace(self, seen=dict(spec), seen_at=now)
        return known if known.holder == self.identity else replace(known, renewed_at=None)

    def wrote(self, spec: Spec, *, begun_at: float, now: float) -> Candidate:
        """After the API took ``spec``, which names this candidate, in a request that began at ``begun_at``."""
        return replace(self, seen=dict(spec), seen_at=now, renewed_at=begun_at)

    def lost(self) -> Candidate:
        return replace(self, renewed_at=None)


Step = Literal["take", "renew", "wait"]


def next_step(candidate: Candidate, *, now: float) -> Step:
    """What to do about the Lease that ``candidate`` has just looked for; one that was deleted still is somebody's."""
    if candidate.seen is None:
        return "take"
    if candidate.holder == candidate.identity:
        return "renew"
    silent_s = max(candidate.timing.lease_s, float(candidate.seen.get("leaseDurationSeconds") or 0))
    return "wait" if candidate.holder and now < candidate.seen_at + silent_s else "take"


def claim(candidate: Candidate, step: Step, *, clock: datetime) -> dict[str, Any]:
    """The Lease's spec with which ``candidate`` holds it; ``clock`` is for people only."""
    old, moment = candidate.seen or {}, micro_time(clock)
    is_mine = step == "renew"
    return {
        "holderIdentity": candidate.identity,
        "leaseDurationSeconds": max(1, round(candidate.timing.lease_s)),
        "acquireTime": (old.get("acquireTime") if is_mine else None) or moment,
        "renewTime": moment,
        "leaseTransitions": int(old.get("leaseTransitions") or 0) + (1 if old and not is_mine else 0),
    }


def released(spec: Spec, *, clock: datetime) -> dict[str, Any]:
    """The spec of a Lease that nobody holds: the next candidate waits for nothing."""
    return {**spec, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(clock)}
