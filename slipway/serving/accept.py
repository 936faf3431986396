"""What a REST caller takes, from its Accept header: one reading for components and executor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from slipway.serving.messages import PROTOBUF

ACCEPTS = 64
"""Accept headers whose meaning is remembered: clients send few different ones."""


@dataclass(frozen=True)
class Accepted:
    """What the caller takes."""

    proto: bool
    json: bool = True


@lru_cache(maxsize=ACCEPTS)
def parse_accept(accept: str) -> Accepted:
    """Protobuf only where it is named; JSON unless protobuf alone is."""
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")} - {""}
    return Accepted(PROTOBUF in kinds, kinds != {PROTOBUF})
