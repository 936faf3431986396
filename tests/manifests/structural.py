"""A definition's structural schema → every way an object breaks it, and every key that it does not name.

Structural schemas are OpenAPI 3.0 with Kubernetes' own words ("Specifying a structural schema" in its documentation of
custom resources). An API server drops keys that a schema does not name; here each is a complaint. Value rules below
``anyOf``, ``oneOf``, ``allOf`` and ``not`` name no fields there and are taken as they are. Rules in CEL: tests/crd/cel.py.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jsonschema

Object = dict[str, Any]
OPEN = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_TYPE, LIST_KEYS = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
MAX_MESSAGE_CHARS = 300
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA: Object = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **{name: {"type": "string"} for name in ("name", "generateName", "namespace")},
        **dict.fromkeys(("labels", "annotations"), _TEXTS),
        "finalizers": {"type": "array", "items": {"type": "string"}},
        "ownerReferences": {"type": "array", "items": {"type": "object"}},
    },
}
"""What a manifest may say of itself: the fields of ObjectMeta that are not the server's to write."""
IDENTITY: Object = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": METADATA}


def complaints(schema: Mapping[str, Any], value: Any, *, is_object: bool = False) -> list[str]:
    """``.path: what is wrong there``, in the order of the paths. ``is_object``: ``value`` is whole, with its metadata."""
    strict = _strict({**schema, EMBEDDED: True} if is_object else schema)
    found = _Validator(strict, format_checker=_FORMATS).iter_errors(value)
    return sorted(f"{_path(error.absolute_path)}: {error.message[:MAX_MESSAGE_CHARS]}" for error in found)


def _strict(schema: Mapping[str, Any]) -> Object:
    """The JSON Schema (draft 4, whose ``exclusiveMinimum`` is OpenAPI's) that says the same and takes no other keys."""
    found: Object = dict(schema)
    if schema.get(INT_OR_STRING):
        found["type"] = ["integer", "string"]
    properties = {key: _strict(child) for key, child in (schema.get("properties") or {}).items()}
    if schema.get(EMBEDDED):
        properties |= IDENTITY
        found["required"] = sorted({*schema.get("required", ()), *IDENTITY})
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            found[key] = _strict(schema[key])
    if schema.get("type") == "object" or properties:
        found["properties"] = properties
        if not schema.get(OPEN):
            found.setdefault("additionalProperties", False)
    return _nullable(found) if schema.get("nullable") else found


def _nullable(schema: Object) -> Object:
    types = schema.get("type")
    if types is None:
        return schema
    found = {**schema, "type": [*([types] if isinstance(types, str) else types), "null"]}
    return {**found, "enum": [*schema["enum"], None]} if "enum" in schema else found


def _repeated(validator: Any, list_type: str, value: Any, schema: Mapping[str, Any]) -> Iterator[Exception]:
    """Two items with the same keys in a list that is a map, or equal ones in one that is a set."""
    if list_type not in ("map", "set") or not isinstance(value, list):
        return
    keys = schema.get(LIST_KEYS) or ()
    seen: set[str] = set()
    for item in value:
        told = [item.get(key) for key in keys] if keys and isinstance(item, dict) else item
        text = json.dumps(told, sort_keys=True)
        if text in seen:
            yield jsonschema.ValidationError(f"{text} comes twice")
        seen.add(text)


_Validator = jsonschema.validators.extend(jsonschema.Draft4Validator, {LIST_TYPE: _repeated})
_FORMATS = jsonschema.FormatChecker(formats=())


@_FORMATS.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


@_FORMATS.checks("int64")
def _is_int64(value: object) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@_FORMATS.checks("byte", raises=binascii.Error)
def _is_byte(value: object) -> bool:
    return not isinstance(value, str) or base64.b64decode(value, validate=True) is not None


def _path(steps: Iterable[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps) or "."
