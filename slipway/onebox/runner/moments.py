"""When a plan is made, and how long ago what the API's stamps tell of was: somebody may set the wall clock at any time.

A stamp is compared with the wall clock once, when a round first asks for it; from then on its age grows with the time since boot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

Object = Mapping[str, Any]


def parse_time(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def by_stamp(_: Object, stamp: str | None) -> float:
    """What is right while nobody sets the clock."""
    return parse_time(stamp)


@dataclass(frozen=True)
class Moment:
    """``wall``: now, in seconds since the epoch, which is what is written down.

    ``since``: an object and a stamp of it → when that was, in seconds since the epoch as the clock is set now.
    """

    wall: float
    since: Callable[[Object, str | None], float] = by_stamp

    @property
    def text(self) -> str:
        return time_text(self.wall)

    def age_s(self, obj: Object, stamp: str | None) -> float:
        """Seconds since ``stamp``."""
        return self.wall - self.since(obj, stamp)


class Memory:
    """When the stamps of objects were first asked for. What nobody asks for in a whole round is forgotten."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], float] = {}
        self._before: dict[tuple[str, str], float] = {}

    def begin_round(self) -> None:
        self._before, self._seen = self._seen, {}

    def moment(self, wall: float, boot: float) -> Moment:
        """``boot``: the same moment on the clock that nobody sets."""
        return Moment(wall, partial(self._since, wall, boot))

    def _since(self, wall: float, boot: float, obj: Object, stamp: str | None) -> float:
        """A stamp of the future is of now: the clock was set back before this process knew of it. None is of long ago."""
        at = min(parse_time(stamp), wall)
        if not stamp:
            return at
        key = (obj["metadata"]["uid"], stamp)
        seen = self._seen[key] = self._seen.get(key, self._before.get(key, boot - (wall - at)))
        return wall - (boot - seen)
