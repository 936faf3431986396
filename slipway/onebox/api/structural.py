"""Is a definition's schema one that this server can read?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import quote

SCHEMA_SHAPES: dict[str, type | tuple[type, ...]] = {
    "type": str,
    "pattern": str,
    "format": str,
    "required": list,
    "enum": list,
    "properties": dict,
    "items": dict,
    "additionalProperties": (dict, bool),
    "minimum": (int, float),
    "maximum": (int, float),
    "minLength": int,
    "maxLength": int,
    "minItems": int,
    "maxItems": int,
    "x-kubernetes-list-type": str,
    "x-kubernetes-list-map-keys": list,
}
TYPES = ("object", "array", "string", "integer", "number", "boolean")


def check_schema(schema: Any, path: str) -> list[Cause]:
    """A structural schema that this server can read: each keyword has the right form, everywhere in it."""
    if schema is None:
        return []
    if not isinstance(schema, dict):
        return [Cause(path, "Invalid value: a schema is an object")]
    causes = [
        Cause(f"{path}.{key}", f"Invalid value: {quote(str(schema[key]))}: not of the form that {key} has")
        for key, shape in SCHEMA_SHAPES.items()
        if key in schema and not isinstance(schema[key], shape)
    ]
    if causes:
        return causes
    causes += _check_values(schema, path)
    for name, child in (schema.get("properties") or {}).items():
        causes += check_schema(child, f"{path}.properties[{name}]")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            causes += check_schema(schema[key], f"{path}.{key}")
    return causes


def _check_values(schema: Mapping[str, Any], path: str) -> list[Cause]:
    causes = []
    if schema.get("type", "object") not in TYPES:
        causes.append(Cause(f"{path}.type", f"Unsupported value: {quote(schema['type'])}", "FieldValueNotSupported"))
    names = [(key, schema.get(key) or ()) for key in ("required", "x-kubernetes-list-map-keys")]
    causes += [
        Cause(f"{path}.{key}", "Invalid value: names are expected")
        for key, items in names
        if not all(isinstance(item, str) for item in items)
    ]
    try:
        re.compile(schema.get("pattern", ""))
    except re.error as exc:
        causes.append(Cause(f"{path}.pattern", f"Invalid value: {quote(schema['pattern'])}: {exc}"))
    if schema.get("x-kubernetes-list-type") == "map" and not schema.get("x-kubernetes-list-map-keys"):
        causes.append(Cause(f"{path}.x-kubernetes-list-map-keys", "Required value", "FieldValueRequired"))
    return causes
