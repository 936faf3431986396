"""A look at a protobuf message's bytes before they are parsed: an empty sub-message takes two bytes there, and 140 after."""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_TOP_FIELDS, MAX_VALUES

_FIXED = {1: 8, 5: 4}
"""Wire type → bytes of a value of a fixed size."""
_MAX_VARINT_BYTES = 10
_LENGTH_DELIMITED = 2
_NOT_DELIMITED = bytes(byte for byte in range(256) if byte & 7 != _LENGTH_DELIMITED)
_LOOK_BYTES = 1024 * 1024
"""A large message is looked at in pieces, so that what is left of one is small."""


def check_fields(raw: bytes, kind: Any) -> None:
    """ServingError 400 for bytes that protobuf would make more than MAX_VALUES messages and texts of.

    ``kind`` is the descriptor of the message that they shall be.

    A field with a length begins with a byte whose lowest bits are 2. Only where there are that many such bytes are the
    fields followed, one by one: a large photo may have as many.
    """
    check_top_fields(raw, what=kind.full_name)
    if len(raw) <= 2 * MAX_VALUES or _delimited_at_most(raw) <= MAX_VALUES:
        return
    if _count_elements(raw, kind, limit=MAX_VALUES) > MAX_VALUES:
        raise ServingError(
            f"the body has more than {MAX_VALUES} values, messages and texts: that is no {kind.full_name}"
        )


def _delimited_at_most(raw: bytes) -> int:
    # Without NumPy: an executor needs it for nothing else at its start, of which its import would be a fifth.
    return sum(
        len(raw[begin : begin + _LOOK_BYTES].translate(None, _NOT_DELIMITED))
        for begin in range(0, len(raw), _LOOK_BYTES)
    )


@functools.cache
def _elements_of(kind: Any) -> dict[int, Any]:
    """Tag → the message that it holds, None for a repeated text; other fields are single values or numbers."""
    lasting: dict[int, Any] = {}
    for field in kind.fields:
        if field.message_type is not None:
            lasting[field.number << 3 | _LENGTH_DELIMITED] = field.message_type
        elif field.is_repeated and field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            lasting[field.number << 3 | _LENGTH_DELIMITED] = None
    return lasting


def _count_elements(raw: bytes, kind: Any, *, limit: int) -> int:
    """Messages and repeated texts anywhere in it, counted up to ``limit`` and no further than it can be read.

    Numbers of one byte are read in place: millions of calls would take as long as all the rest.
    """
    found, place, what = 0, 0, kind.full_name
    open_messages = [(len(raw), _elements_of(kind))]
    try:
        while open_messages and found <= limit:
            end, elements = open_messages.pop()
            while place < end and found <= limit:
                tag = raw[place]
                tag, place = (tag, place + 1) if tag < 0x80 else _varint(raw, place, what)
                if tag & 7 != _LENGTH_DELIMITED:
                    place = _after_value(raw, place, tag & 7, what)
                    continue
                length = raw[place]
                length, place = (length, place + 1) if length < 0x80 else _varint(raw, place, what)
                if tag in elements:
                    found += 1
                    if length and (inner := elements[tag]) is not None:
                        open_messages += [(end, elements), (place + length, _elements_of(inner))]
                        break
                place += length
    except (ServingError, IndexError):
        return found  # the parser says what is wrong with it
    return found


def _after_value(raw: bytes, place: int, wire_type: int, what: str) -> int:
    """Behind a number; the two ends of a group have none, and a group's fields are read as the message's own."""
    if wire_type == 0:
        return _varint(raw, place, what)[1]
    return place + _FIXED.get(wire_type, 0)


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
