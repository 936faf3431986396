"""What a structural schema says of a custom resource, in the API server's words: what it drops, and what it refuses."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from slipway.contract.field_causes import quote

Schema = Mapping[str, Any]
MAX_WHOLE_FLOAT = 2.0**53
"""Floats beyond are no whole numbers to Kubernetes: they may have lost digits."""


@dataclass(frozen=True)
class Violation:
    """``reason`` is Kubernetes' CauseType, e.g. ``FieldValueRequired``."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


def prune(schema: Schema, value: Any, *, path: str = "") -> list[str]:
    """Remove from a custom resource, in place, what its structural schema does not name; the paths removed."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [gone for index, item in enumerate(value) for gone in prune(items, item, path=f"{path}[{index}]")]
    if not isinstance(value, dict):
        return []
    gone: list[str] = []
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key in list(value):
        below = f"{path}.{key}" if path else key
        if key in properties:
            gone += prune(properties[key], value[key], path=below)
        elif isinstance(extra, dict):
            gone += prune(extra, value[key], path=below)
        elif not schema.get("x-kubernetes-preserve-unknown-fields") and extra is not True:
            del value[key]
            gone.append(below)
    return sorted(gone)


def validate(schema: Schema, value: Any, *, path: str) -> Iterator[Violation]:
    """Every way a custom resource breaks its structural schema, in the words of Kubernetes."""
    if value is None:
        if not schema.get("nullable"):
            yield Violation(path, "Required value", "FieldValueRequired")
        return
    wanted = schema.get("type")
    if wanted and not schema.get("x-kubernetes-int-or-string") and not is_type(wanted, value):
        got = {"bool": "boolean", "number": "integer" if isinstance(value, int) else "number"}.get(
            json_type(value), json_type(value)
        )
        message = f'Invalid value: "{got}": {path} in body must be of type {wanted}: "{got}"'
        yield Violation(path, message, "FieldValueTypeInvalid")
        return
    yield from _validate_value(schema, value, path=path)
    if isinstance(value, dict):
        yield from _validate_object(schema, value, path=path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from validate(schema.get("items") or {}, item, path=f"{path}[{index}]")
        yield from _duplicates(schema, value, path=path)


def _validate_object(schema: Schema, value: dict[str, Any], *, path: str) -> Iterator[Violation]:
    prefix = f"{path}." if path else ""
    for key in schema.get("required") or ():
        if key not in value:
            yield Violation(f"{prefix}{key}", "Required value", "FieldValueRequired")
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key, item in value.items():
        child = properties.get(key, extra if isinstance(extra, dict) else None)
        if child is not None:
            yield from validate(child, item, path=f"{prefix}{key}")


def _validate_value(schema: Schema, value: Any, *, path: str) -> Iterator[Violation]:
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(quote(item) for item in schema["enum"])
        yield Violation(
            path, f"Unsupported value: {quote(value)}: supported values: {supported}", "FieldValueNotSupported"
        )
    if isinstance(value, str):
        yield from _validate_text(schema, value, path=path)
    elif isinstance(value, list):
        yield from _validate_length(schema, value, path=path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _validate_number(schema, value, path=path)


def _validate_text(schema: Schema, value: str, *, path: str) -> Iterator[Violation]:
    if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        yield Violation(path, f"Invalid value: {quote(value)}: {path} in body should match '{schema['pattern']}'")
    if len(value.encode()) > schema.get("maxLength", math.inf):
        yield Violation(path, f"Too long: may not be more than {schema['maxLength']} bytes", "FieldValueTooLong")
    if len(value) < schema.get("minLength", 0):
        message = f"{path} in body should be at least {schema['minLength']} chars long"
        yield Violation(path, f"Invalid value: {quote(value)}: {message}")


def _validate_length(schema: Schema, value: list[Any], *, path: str) -> Iterator[Violation]:
    if len(value) > schema.get("maxItems", math.inf):
        message = f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
        yield Violation(path, message, "FieldValueTooMany")
    if len(value) < schema.get("minItems", 0):
        message = f"{path} in body should have at least {schema['minItems']} items"
        yield Violation(path, f"Invalid value: {len(value)}: {message}")


def _validate_number(schema: Schema, value: float, *, path: str) -> Iterator[Violation]:
    if value < schema.get("minimum", -math.inf):
        message = f"{path} in body should be greater than or equal to {schema['minimum']}"
        yield Violation(path, f"Invalid value: {value}: {message}")
    if value > schema.get("maximum", math.inf):
        message = f"{path} in body should be less than or equal to {schema['maximum']}"
        yield Violation(path, f"Invalid value: {value}: {message}")


def _duplicates(schema: Schema, value: list[Any], *, path: str) -> Iterator[Violation]:
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("set", "map"):
        return
    seen: list[Any] = []
    keys = schema.get("x-kubernetes-list-map-keys") or []
    for index, item in enumerate(value):
        if kind == "map" and not isinstance(item, dict):
            continue
        identity = item if kind == "set" else {key: item.get(key) for key in keys}
        if identity in seen:
            yield Violation(f"{path}[{index}]", f"Duplicate value: {quote(identity)}", "FieldValueDuplicate")
        seen.append(identity)


def json_type(value: Any) -> str:
    """Go's name for the JSON type of ``value``."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def is_type(wanted: str, value: Any) -> bool:
    match wanted:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and (isinstance(value, int) or is_whole(value))
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case "array":
            return isinstance(value, list)
    return isinstance(value, dict)


def is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer() and abs(value) <= MAX_WHOLE_FLOAT


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)
