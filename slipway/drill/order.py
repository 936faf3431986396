"""What a generator is told to do, as one JSON line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

TIMEOUT_S = 10.0
"""A request without a valid reply for so long is lost."""


@dataclass(frozen=True)
class Order:
    """Photos in turn to one address.

    ``rate``: an open loop, requests a second whatever the answers do. ``at_once`` instead: a closed loop of so many
    clients, which finds out what the other side sustains. ``count``: end after so many; 0: when told. ``retries``: a
    request whose connection breaks, or whom nobody listens to, is sent again until its time is over.
    """

    url: str
    photos: tuple[str, ...]
    rate: float = 0.0
    at_once: int = 0
    count: int = 0
    retries: bool = False
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        if not self.photos:
            raise ValueError("a load needs a photo at least")
        if (self.rate > 0) == (self.at_once > 0):
            raise ValueError(f"rate={self.rate}, at_once={self.at_once}: one of them is above 0")

    def as_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Order:
        data: dict[str, Any] = json.loads(line)
        return cls(**{**data, "photos": tuple(data["photos"])})
