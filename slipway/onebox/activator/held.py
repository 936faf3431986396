"""Who may wait, and what is said to whom may not: counts and sentences, nothing that acts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from slipway.kube.pods import Trouble
from slipway.onebox.activator.limits import (
    MAX_COPIED_BYTES,
    MAX_HELD,
    MAX_HELD_BYTES,
    MAX_HELD_EACH,
    RETRY_AFTER_S,
)

TOO_MANY = "TOO_MANY_HELD"
NOT_AWAKE = "PREDICTOR_NOT_AWAKE"
NO_TARGET = "NO_TARGET"
FINAL = frozenset({TOO_MANY, NOT_AWAKE, NO_TARGET})
"""Reasons of refusals that a further try would only get again. Any other may go better at another Pod."""
BUILDING = "BuildingImage"
"""The one reason to wait that passes by itself: the runner builds the image that the container needs."""

Key = tuple[str, str]  # namespace and name of a Deployment


class Refused(Exception):
    """The request is answered 503 (UNAVAILABLE) with ``reason`` as its machine code."""

    def __init__(self, reason: str, info: str, *, retry_after_s: int = RETRY_AFTER_S) -> None:
        super().__init__(info)
        self.reason = reason
        self.info = info
        self.retry_after_s = retry_after_s


@dataclass
class Held:
    """The requests that wait now, by Deployment, and the bytes of their bodies."""

    counts: Counter[Key] = field(default_factory=Counter)
    held_bytes: int = 0

    def enter(self, key: Key, size: int) -> None:
        """Raises Refused where one of the bounds is reached."""
        name = "/".join(key)
        if self.counts[key] >= MAX_HELD_EACH:
            raise Refused(TOO_MANY, f"{name} is starting, and {MAX_HELD_EACH} requests wait for it already")
        if self.counts.total() >= MAX_HELD:
            raise Refused(TOO_MANY, f"{name} is starting, and {MAX_HELD} requests wait on this machine already")
        if self.held_bytes + size > MAX_HELD_BYTES:
            raise Refused(TOO_MANY, f"{name} is starting, and {MAX_HELD_BYTES} bytes of requests wait already")
        self.counts[key] += 1
        self.held_bytes += size

    def leave(self, key: Key, size: int) -> None:
        """Once for each ``enter`` that did not raise."""
        self.held_bytes -= size
        self.counts[key] -= 1
        if not self.counts[key]:
            del self.counts[key]


@dataclass
class Room:
    """What mirrored bodies take of this process' memory."""

    taken_bytes: int = 0

    def take(self, size: int) -> None:
        """Raises Refused where there is no more."""
        if self.taken_bytes + size > MAX_COPIED_BYTES:
            raise Refused(TOO_MANY, f"{MAX_COPIED_BYTES} bytes of mirrored requests are under way already")
        self.taken_bytes += size

    def give_back(self, size: int) -> None:
        self.taken_bytes -= size


def is_hopeless(trouble: Trouble | None) -> bool:
    """Waiting longer would not help: the container's own restart or a person must."""
    return trouble is not None and trouble.waits and trouble.reason != BUILDING


def not_awake(key: Key, trouble: Trouble | None, *, waited_s: float) -> Refused:
    """With the Pod's own reason."""
    why = f"{trouble.reason}: {trouble.message}" if trouble else "its Pod is not ready yet"
    return Refused(NOT_AWAKE, f"{'/'.join(key)} did not start within {waited_s:.1f} s: {why}")
