"""The compact notation of the built-in kinds' fields, turned into OpenAPI schemas.

A file holds types, each a name (and attributes) followed by indented fields: ``name[!] type[?] [attribute ...]``.

type        ``string int number bool any quantity time microtime bytes int-or-string``, ``[type]``, ``{type}``, or a name
``!``       required
``?``       a pointer in Kubernetes' Go types: zero (0, false, "") is kept, otherwise zero means absent
attributes  ``=JSON`` default, ``map=k1,k2`` and ``set`` list types, ``merge=key`` or ``merge`` strategic merge,
            ``retain`` the retainKeys strategy, ``atomic``, ``always`` present even when empty, ``null`` present as null
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

Schema = dict[str, Any]
FOLDER = Path(__file__).parent / "schemas"

SCALARS: dict[str, Schema] = {
    "string": {"type": "string"},
    "int": {"type": "integer", "format": "int64"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "any": {"x-kubernetes-preserve-unknown-fields": True},
    "quantity": {"type": "string", "x-slipway-quantity": True},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "micro-time"},
    "bytes": {"type": "string", "format": "byte"},
    "int-or-string": {"x-kubernetes-int-or-string": True},
}


@cache
def load_types() -> dict[str, Schema]:
    """Every type of every file, by name. Types are shared objects: treat them as constants."""
    lines = [line for path in sorted(FOLDER.glob("*.types")) for line in path.read_text().splitlines()]
    return parse_types([line for line in lines if line.strip() and not line.startswith("#")])


def parse_types(lines: list[str]) -> dict[str, Schema]:
    """Types may name each other in any order, and themselves. ValueError names the line that is wrong."""
    types: dict[str, Schema] = {}
    for line in lines:
        if not line.startswith(" "):
            name, *attributes = line.split()
            types[name] = {"type": "object", "properties": {}, "required": [], "x-slipway-type": name}
            for attribute in attributes:
                types[name].update(_attribute(attribute, types[name]))
    current: Schema = {}
    for line in lines:
        if not line.startswith(" "):
            current = types[line.split()[0]]
            continue
        try:
            name, _, rest = line.strip().partition(" ")
            _add_field(current, name, rest, types)
        except (KeyError, ValueError) as exc:
            raise ValueError(f"{current.get('x-slipway-type')}: {line.strip()!r}: {exc}") from exc
    return types


def _add_field(owner: Schema, name: str, rest: str, types: dict[str, Schema]) -> None:
    rest, _, default = rest.partition(" =")
    kind, *attributes = rest.split()
    schema = dict(_type(kind.removesuffix("?"), types))
    if kind.endswith("?"):
        schema["x-slipway-pointer"] = True
    if default:
        schema["default"] = json.loads(default)
    for attribute in attributes:
        schema.update(_attribute(attribute, schema))
    if name.endswith("!"):
        name = name.removesuffix("!")
        owner["required"].append(name)
    owner["properties"][name] = schema


def _type(text: str, types: dict[str, Schema]) -> Schema:
    if text.startswith("["):
        return {"type": "array", "items": _type(text[1:-1], types)}
    if text.startswith("{"):
        return {"type": "object", "additionalProperties": _type(text[1:-1], types)}
    return SCALARS[text] if text in SCALARS else types[text]


def _attribute(text: str, schema: Schema) -> Schema:  # noqa: PLR0911  - one per attribute
    key, _, value = text.partition("=")
    match key:
        case "map":
            return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": value.split(",")}
        case "set":
            return {"x-kubernetes-list-type": "set"}
        case "merge":
            merge: Schema = {"x-kubernetes-patch-strategy": "merge"}
            return {**merge, "x-kubernetes-patch-merge-key": value} if value else merge
        case "retain":
            before = schema.get("x-kubernetes-patch-strategy")
            return {"x-kubernetes-patch-strategy": f"{before},retainKeys" if before else "retainKeys"}
        case "atomic":
            return {"x-kubernetes-map-type": "atomic"}
        case "always":
            return {"x-slipway-always": True}
        case "null":
            return {"x-slipway-null": True}
    raise ValueError(f"unknown attribute {text!r}")
