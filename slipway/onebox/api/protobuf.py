"""Kubernetes' protobuf bodies, as `kubectl create` and other typed clients send them, read into the JSON form.

A body is four magic bytes and a ``runtime.Unknown`` envelope around one message (k8s.io/apimachinery/pkg/runtime). The
schemas say what a field is; ``schemas/protobuf.numbers`` says which number it has. Answers are never protobuf.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from slipway.onebox.api.types import FOLDER

MAGIC = b"k8s\x00"
MAX_FIELDS = 100_000
"""Fields of one body, of all its messages together: bounds the time that decoding takes. Depth needs no limit of its
own, because no type contains itself."""
MAX_VARINT_BYTES = 10
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Schema = Mapping[str, Any]
Numbers = dict[int, Any]  # field number → the field's name, or the numbers of a message that JSON does not show


@dataclass(frozen=True)
class Envelope:
    """What the envelope says: the type, and the message in it."""

    api_version: str
    kind: str
    message: bytes


@dataclass
class Budget:
    """How many more fields may come."""

    fields: int = MAX_FIELDS

    def spend(self) -> None:
        self.fields -= 1
        if self.fields < 0:
            raise ValueError(f"more than {MAX_FIELDS} fields")


@cache
def load_numbers() -> dict[str, Numbers]:
    """Type → its numbers. A type that is not here cannot be read from protobuf."""
    text = (FOLDER / "protobuf.numbers").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {
        name: _parse_numbers(rows) for name, *rows in map(str.split, "\n".join(lines).replace("\n ", " ").splitlines())
    }


def _parse_numbers(rows: list[str]) -> Numbers:
    numbers: Numbers = {}
    for row in rows:
        path, _, name = row.partition("=")
        *outer, last = map(int, path.split("."))
        level = numbers
        for number in outer:
            level = level.setdefault(number, {})
        level[last] = name
    return numbers


def can_read(schema: Schema) -> bool:
    return schema.get("x-slipway-type") in load_numbers()


def parse_envelope(body: bytes) -> Envelope:
    """Raises ValueError."""
    if not body.startswith(MAGIC):
        raise ValueError(f"a protobuf body begins with {MAGIC!r}, this one with {body[:4]!r}")
    outer = _last_values(body[len(MAGIC) :])
    kind = _last_values(_as_bytes(outer.get(1, b"")))
    if outer.get(3):
        raise ValueError(f"the content encoding {_as_text(outer[3])!r} is not read")
    return Envelope(_as_text(kind.get(1, b"")), _as_text(kind.get(2, b"")), _as_bytes(outer.get(2, b"")))


def decode_message(schema: Schema, message: bytes) -> dict[str, Any]:
    """The JSON form of one message. Raises ValueError naming the field that cannot be read."""
    return _message(schema, message, path="", budget=Budget())


def _message(schema: Schema, data: bytes, *, path: str, budget: Budget) -> dict[str, Any]:
    name = schema["x-slipway-type"]
    numbers = load_numbers().get(name)
    if numbers is None:
        raise ValueError(f"{path}: the type {name} is not read from protobuf: send JSON")
    result: dict[str, Any] = {}
    _fill(result, schema, numbers, data, path=path, budget=budget)
    return {key: value for key, value in result.items() if not _is_absent(schema["properties"][key], value)}


def _fill(result: dict[str, Any], schema: Schema, numbers: Numbers, data: bytes, *, path: str, budget: Budget) -> None:
    for number, raw in _fields(data):
        budget.spend()
        name = numbers.get(number)
        if isinstance(name, dict):
            _fill(result, schema, name, _as_bytes(raw), path=path, budget=budget)
            continue
        if name is None:
            raise ValueError(f"{path or 'the object'}: field number {number} is not read from protobuf: send JSON")
        where, field = f"{path}.{name}" if path else name, schema["properties"][name]

        def read(inner: Schema, value: int | bytes, where: str = where) -> Any:
            return _value(inner, value, path=where, budget=budget)

        _add(result, name, field, raw, read)


def _add(
    result: dict[str, Any], name: str, field: Schema, raw: int | bytes, read: Callable[[Schema, int | bytes], Any]
) -> None:
    """One occurrence of a field: of a list an item, of a map an entry, of anything else the value (the last counts)."""
    if field.get("type") == "array":
        result.setdefault(name, []).append(read(field["items"], raw))
    elif "additionalProperties" in field:
        entry = _last_values(_as_bytes(raw))
        key = _as_text(entry.get(1, b""))
        result.setdefault(name, {})[key] = read(field["additionalProperties"], entry.get(2, b""))
    else:
        result[name] = read(field, raw)


def _value(schema: Schema, raw: int | bytes, *, path: str, budget: Budget) -> Any:
    if "properties" in schema:
        return _message(schema, _as_bytes(raw), path=path, budget=budget)
    try:
        return _scalar(schema, raw)
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"{path}: {exc}") from exc


def _scalar(schema: Schema, raw: int | bytes) -> Any:
    if schema.get("x-kubernetes-int-or-string"):
        parts = _last_values(_as_bytes(raw))
        return _as_text(parts.get(3, b"")) if parts.get(1) else _signed(parts.get(2, 0))
    if schema.get("x-slipway-quantity"):
        return _as_text(_last_values(_as_bytes(raw)).get(1, b""))
    form = schema.get("format") or schema.get("type", "")
    if form not in SCALARS:
        raise ValueError("this field is not read from protobuf: send JSON")
    return SCALARS[form](raw)


def _time(raw: int | bytes, layout: str) -> str | None:
    parts = _last_values(_as_bytes(raw))
    moment = EPOCH + timedelta(seconds=_signed(parts.get(1, 0)), microseconds=_signed(parts.get(2, 0)) // 1000)
    return moment.strftime(layout) if parts else None


def _is_absent(schema: Schema, value: Any) -> bool:
    """Go writes the zero of every field that is no pointer."""
    return value is None or (not schema.get("x-slipway-pointer") and value in ("", 0, False) and value != {})


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in order: number, and a whole number or bytes. Raises ValueError."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _varint(data, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"field number {number} has the wire type {wire}, which does not exist here")
        if size > len(data) - at:
            raise ValueError(f"unexpected end: field number {number} has {size} bytes, {len(data) - at} are left")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[at : at + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError(f"unexpected end or too long a number at byte {at}")


def _last_values(data: bytes) -> dict[int, int | bytes]:
    """A message of a few scalars, where the last of each number counts; at most MAX_FIELDS fields."""
    budget, values = Budget(), {}
    for number, value in _fields(data):
        budget.spend()
        values[number] = value
    return values


def _signed(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("a whole number is expected, not bytes")  # noqa: TRY004  - a malformed body, not a caller's mistake
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("bytes are expected, not a number")  # noqa: TRY004  - a malformed body, not a caller's mistake
    return value


def _as_text(value: int | bytes) -> str:
    return _as_bytes(value).decode()


SCALARS: dict[str, Callable[[int | bytes], Any]] = {  # by the schema's format, else by its type
    "string": _as_text,
    "byte": lambda raw: base64.b64encode(_as_bytes(raw)).decode(),
    "date-time": lambda raw: _time(raw, "%Y-%m-%dT%H:%M:%SZ"),
    "micro-time": lambda raw: _time(raw, "%Y-%m-%dT%H:%M:%S.%fZ"),
    "int64": _signed,
    "boolean": lambda raw: bool(_signed(raw)),
}
