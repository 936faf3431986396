"""What a schema does to an object: types checked, unknown fields found, defaults filled in, empty values dropped."""

from __future__ import annotations

import base64
import binascii
import copy
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from slipway.contract.quantity import parse_quantity
from slipway.crd.structural import is_type, is_whole, json_type
from slipway.onebox.api.errors import bad_request

Schema = Mapping[str, Any]
MICRO_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
QUANTITY_FORM = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
MAX_DEPTH = 96
"""Nesting of a body: deeper is refused before anything recurses over it."""
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
    if wanted == "integer" and isinstance(value, float) and is_whole(value):
        return int(value)
    if not is_type(wanted, value):
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


def _go_type(schema: Schema) -> str:
    if "additionalProperties" in schema:
        return f"map[string]{_go_type(schema['additionalProperties'])}"
    if schema.get("type") == "array":
        return f"[]{_go_type(schema['items'])}"
    return str(schema.get("x-slipway-type") or GO_TYPES.get(schema.get("type", ""), "interface {}"))


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
