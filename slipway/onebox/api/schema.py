"""What a schema does to an object: types checked, unknown fields found, defaults filled in, empty values dropped."""

from __future__ import annotations

import base64
import binascii
import copy
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from slipway.onebox.api.errors import Cause, bad_request
from slipway.onebox.runner.quantity import parse_quantity

Schema = Mapping[str, Any]
MICRO_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
QUANTITY_FORM = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
MAX_DEPTH = 96
"""Nesting of a body: deeper is refused before anything recurses over it."""
MAX_WHOLE_FLOAT = 2.0**53
"""Floats beyond are no whole numbers to Kubernetes: they may have lost digits."""
GO_TYPES = {"string": "string", "integer": "int32", "boolean": "bool", "number": "float64"}


def decode(schema: Schema, value: Any, *, kind: str) -> tuple[Any, list[str]]:
    """A built-in object as Kubernetes' typed decoder reads it, and the paths of unknown fields, which are dropped.

    Nulls are dropped too. A wrong type is a Refused 400 in the decoder's words.
    """
    unknown: list[str] = []
    return _decode(schema, value, path="", go_path=kind, kind=kind, unknown=unknown), unknown


def _decode(schema: Schema, value: Any, *, path: str, go_path: str, kind: str, unknown: list[str]) -> Any:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise _mismatch(kind, value, go_path, "int32")
        return value
    match schema.get("type"):
        case "object":
            return _decode_object(schema, value, path=path, go_path=go_path, kind=kind, unknown=unknown)
        case "array":
            if not isinstance(value, list):
                raise _mismatch(kind, value, go_path, "[]" + _go_type(schema["items"]))
            return [
                _decode(schema["items"], item, path=f"{path}[{index}]", go_path=go_path, kind=kind, unknown=unknown)
                for index, item in enumerate(value)
                if item is not None
            ]
    return _decode_scalar(schema, value, go_path=go_path, kind=kind)


def _decode_object(
    schema: Schema, value: Any, *, path: str, go_path: str, kind: str, unknown: list[str]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mismatch(kind, value, go_path, _go_type(schema))
    result: dict[str, Any] = {}
    extra = schema.get("additionalProperties")
    for key, item in value.items():
        below = f"{path}.{key}" if path else key
        known = extra if extra is not None else schema["properties"].get(key)
        if known is None:
            unknown.append(below)
        elif item is not None:
            inner = go_path if extra is not None else f"{go_path}.{key}"
            result[key] = _decode(known, item, path=below, go_path=inner, kind=kind, unknown=unknown)
    return result


def _decode_scalar(schema: Schema, value: Any, *, go_path: str, kind: str) -> Any:
    if schema.get("x-slipway-quantity") and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    wanted = schema["type"]
    if wanted == "integer" and isinstance(value, float) and _is_whole(value):
        return int(value)
    if not _is_type(wanted, value):
        raise _mismatch(kind, value, go_path, GO_TYPES[wanted])
    if schema.get("format") == "byte":
        _check_base64(value, kind=kind)
    if schema.get("format") == "micro-time" and not MICRO_TIME.match(value):
        raise _cannot(kind, f'parsing time "{value}" as "2006-01-02T15:04:05.000000Z07:00": {_time_error(value)}')
    if schema.get("format") == "date-time" and not _is_time(value):
        raise _cannot(kind, f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse "{value}"')
    if schema.get("x-slipway-quantity") and not _is_quantity(value):
        raise _cannot(kind, f"quantities must match the regular expression '{QUANTITY_FORM}'")
    return value


def _is_time(text: str) -> bool:
    """RFC 3339, of a day that there is."""
    try:
        return TIME.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
    except ValueError:
        return False


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except ValueError:
        return False
    return True


def _time_error(value: str) -> str:
    """What Go's time.Parse says about a time that is none, or has no six decimals."""
    whole = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value)
    rest, wanted = (value[whole.end() :], ".000000") if whole else (value, "2006")
    return f'cannot parse "{rest}" as "{wanted}"'


def _check_base64(value: str, *, kind: str) -> None:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error as exc:
        allowed = re.match(r"[A-Za-z0-9+/]*", value)
        raise _cannot(kind, f"illegal base64 data at input byte {allowed.end() if allowed else 0}") from exc


def _cannot(kind: str, why: str) -> Exception:
    return bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {why}')


def _mismatch(kind: str, value: Any, go_path: str, go_type: str) -> Exception:
    return _cannot(kind, f"json: cannot unmarshal {json_type(value)} into Go struct field {go_path} of type {go_type}")


def json_type(value: Any) -> str:
    """Go's name for the JSON type of ``value``."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _go_type(schema: Schema) -> str:
    if "additionalProperties" in schema:
        return f"map[string]{_go_type(schema['additionalProperties'])}"
    if schema.get("type") == "array":
        return f"[]{_go_type(schema['items'])}"
    return str(schema.get("x-slipway-type") or GO_TYPES.get(schema.get("type", ""), "interface {}"))


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer() and abs(value) <= MAX_WHOLE_FLOAT


def _is_type(wanted: str, value: Any) -> bool:
    match wanted:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and (isinstance(value, int) or _is_whole(value))
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case "array":
            return isinstance(value, list)
    return isinstance(value, dict)


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


def add_defaults(schema: Schema, value: Any) -> None:
    """Fill in defaults, in place. A null where a default exists and null is not allowed counts as absent."""
    if isinstance(value, list):
        for item in value:
            add_defaults(schema.get("items") or {}, item)
        return
    if not isinstance(value, dict):
        return
    for key, child in (schema.get("properties") or {}).items():
        if "default" in child and (key not in value or (value[key] is None and not child.get("nullable"))):
            value[key] = copy.deepcopy(child["default"])
        if key in value:
            add_defaults(child, value[key])
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for item in value.values():
            add_defaults(extra, item)


SCALAR_ZEROS = {"integer": 0, "boolean": False, "string": ""}


def zero(schema: Schema) -> dict[str, Any]:
    """What an empty Go struct of a built-in type looks like as JSON: a required number or text is there, as its zero."""
    result: dict[str, Any] = {}
    required = schema.get("required") or ()
    for key, child in (schema.get("properties") or {}).items():
        kind = child.get("type", "")
        if child.get("x-slipway-null"):
            result[key] = None
        elif child.get("x-slipway-always"):
            result[key] = zero(child) if kind == "object" else SCALAR_ZEROS.get(kind)
        elif key in required and kind in SCALAR_ZEROS:
            result[key] = SCALAR_ZEROS[kind]
    return result


def normalize(schema: Schema, value: Any) -> Any:
    """A built-in value as Go would print it: empty values left out, except pointers and what is always there."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [normalize(items, item) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    result: dict[str, Any] = {}
    for key, item in value.items():
        child = schema["properties"].get(key)
        if child is None:
            result[key] = item  # apiVersion and kind
            continue
        kept = normalize(child, item)
        if child.get("x-slipway-pointer") or not _is_empty(child, kept):
            result[key] = kept
    for key, filler in zero(schema).items():
        if key not in result:
            result[key] = filler
    return result


def _is_empty(schema: Schema, value: Any) -> bool:
    if value is None or value in ("", [], False):
        return True
    if isinstance(value, int | float):
        return value == 0 and "x-kubernetes-int-or-string" not in schema
    return value == {} and "additionalProperties" in schema


def validate(schema: Schema, value: Any, *, path: str) -> Iterator[Cause]:
    """Every way a custom resource breaks its structural schema, in the words of Kubernetes."""
    if value is None:
        if not schema.get("nullable"):
            yield Cause(path, "Required value", "FieldValueRequired")
        return
    wanted = schema.get("type")
    if wanted and not schema.get("x-kubernetes-int-or-string") and not _is_type(wanted, value):
        got = {"bool": "boolean", "number": "integer" if isinstance(value, int) else "number"}.get(
            json_type(value), json_type(value)
        )
        message = f'Invalid value: "{got}": {path} in body must be of type {wanted}: "{got}"'
        yield Cause(path, message, "FieldValueTypeInvalid")
        return
    yield from _validate_value(schema, value, path=path)
    if isinstance(value, dict):
        yield from _validate_object(schema, value, path=path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from validate(schema.get("items") or {}, item, path=f"{path}[{index}]")
        yield from _duplicates(schema, value, path=path)


def _validate_object(schema: Schema, value: dict[str, Any], *, path: str) -> Iterator[Cause]:
    prefix = f"{path}." if path else ""
    for key in schema.get("required") or ():
        if key not in value:
            yield Cause(f"{prefix}{key}", "Required value", "FieldValueRequired")
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key, item in value.items():
        child = properties.get(key, extra if isinstance(extra, dict) else None)
        if child is not None:
            yield from validate(child, item, path=f"{prefix}{key}")


def _validate_value(schema: Schema, value: Any, *, path: str) -> Iterator[Cause]:
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(quote(item) for item in schema["enum"])
        yield Cause(path, f"Unsupported value: {quote(value)}: supported values: {supported}", "FieldValueNotSupported")
    if isinstance(value, str):
        yield from _validate_text(schema, value, path=path)
    elif isinstance(value, list):
        yield from _validate_length(schema, value, path=path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _validate_number(schema, value, path=path)


def _validate_text(schema: Schema, value: str, *, path: str) -> Iterator[Cause]:
    if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        yield Cause(path, f"Invalid value: {quote(value)}: {path} in body should match '{schema['pattern']}'")
    if len(value.encode()) > schema.get("maxLength", math.inf):
        yield Cause(path, f"Too long: may not be more than {schema['maxLength']} bytes", "FieldValueTooLong")
    if len(value) < schema.get("minLength", 0):
        message = f"{path} in body should be at least {schema['minLength']} chars long"
        yield Cause(path, f"Invalid value: {quote(value)}: {message}")


def _validate_length(schema: Schema, value: list[Any], *, path: str) -> Iterator[Cause]:
    if len(value) > schema.get("maxItems", math.inf):
        message = f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
        yield Cause(path, message, "FieldValueTooMany")
    if len(value) < schema.get("minItems", 0):
        message = f"{path} in body should have at least {schema['minItems']} items"
        yield Cause(path, f"Invalid value: {len(value)}: {message}")


def _validate_number(schema: Schema, value: float, *, path: str) -> Iterator[Cause]:
    if value < schema.get("minimum", -math.inf):
        message = f"{path} in body should be greater than or equal to {schema['minimum']}"
        yield Cause(path, f"Invalid value: {value}: {message}")
    if value > schema.get("maximum", math.inf):
        message = f"{path} in body should be less than or equal to {schema['maximum']}"
        yield Cause(path, f"Invalid value: {value}: {message}")


def _duplicates(schema: Schema, value: list[Any], *, path: str) -> Iterator[Cause]:
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
            yield Cause(f"{path}[{index}]", f"Duplicate value: {quote(identity)}", "FieldValueDuplicate")
        seen.append(identity)


def quote(value: Any) -> str:
    """A value as Go's ``%q`` or ``%v`` prints it in an error."""
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inner = ", ".join(f"{quote(key)}:{quote(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    return str(value)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def depth(value: Any) -> int:
    """How deep ``value`` nests, counted without recursion; stops one past MAX_DEPTH."""
    level, deep = [value], 0
    while level and deep <= MAX_DEPTH:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        level, deep = below, deep + 1
    return deep
