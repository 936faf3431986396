"""A look at a protobuf message's bytes before they are parsed: an empty sub-message takes two bytes there, and 140 after."""

from __future__ import annotations

from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_TOP_FIELDS

_FIXED = {1: 8, 5: 4}
"""Wire type → bytes of a value of a fixed size."""
_MAX_VARINT_BYTES = 10


def check_top_fields(raw: bytes, *, what: str) -> None:
    """ServingError 400 for a message with more than MAX_TOP_FIELDS fields of its own, or none that parses.

    The fields of its sub-messages are not looked at.
    """
    if len(raw) <= 2 * MAX_TOP_FIELDS:  # a field takes two bytes at least
        return
    place = count = 0
    while place < len(raw):
        count += 1
        if count > MAX_TOP_FIELDS:
            raise ServingError(f"the body has more than {MAX_TOP_FIELDS} fields at its top: that is no {what}")
        place = _after_field(raw, place, what)


def _after_field(raw: bytes, place: int, what: str) -> int:
    tag, place = _varint(raw, place, what)
    match tag & 7:
        case 0:
            _, place = _varint(raw, place, what)
        case 2:
            length, place = _varint(raw, place, what)
            place += length
        case fixed if fixed in _FIXED:
            place += _FIXED[fixed]
        case other:
            raise ServingError(f"the body is not a {what}: wire type {other} at byte {place}")
    if place > len(raw):
        raise ServingError(f"the body is not a {what}: it ends inside of a field")
    return place


def _varint(raw: bytes, place: int, what: str) -> tuple[int, int]:
    number = shift = 0
    for byte in raw[place : place + _MAX_VARINT_BYTES]:
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
    raise ServingError(f"the body is not a {what}: a number does not end at byte {place}")
