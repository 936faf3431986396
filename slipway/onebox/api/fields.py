"""Which fields an object has, which an apply claims, and what comes of merging the two.

Semantics after Kubernetes' structured-merge-diff: lists are atomic unless their schema says set or map, maps are granular
unless atomic.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from slipway.kube.fields_v1 import EMPTY, FieldSet, Path, bracketed, dotted

Schema = Mapping[str, Any]
_CONTAINER = object()
NOT_OWNED = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
            "resourceVersion",
        )
    }
)
"""Fields that no manager owns."""


class DuplicateKey(ValueError):
    """Two entries of one list have the same key; carries ``path`` as dotted text."""


def key_part(item: Mapping[str, Any], keys: list[str], schema: Schema) -> str:
    """The ``k:`` part of a list entry; a key that is absent has its default."""
    properties = (schema.get("properties") or {}) if schema else {}
    values = {}
    for key in keys:
        value = item.get(key, (properties.get(key) or {}).get("default"))
        if value is not None:
            values[key] = value
    return "k:" + json.dumps(values, separators=(",", ":"), sort_keys=True)


def value_part(item: Any) -> str:
    return "v:" + json.dumps(item, separators=(",", ":"))


def _list_type(schema: Schema) -> str:
    return str(schema.get("x-kubernetes-list-type") or "atomic")


def children(schema: Schema, value: Any) -> Iterator[tuple[str, Schema, Any]] | None:
    """The parts of a granular value with their schemas; None for a leaf or an atomic value."""
    if isinstance(value, dict):
        if schema.get("x-kubernetes-map-type") == "atomic":
            return None
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        below = extra if isinstance(extra, dict) else {}
        return ((f"f:{key}", properties.get(key, below), item) for key, item in value.items())
    if isinstance(value, list):
        items = schema.get("items") or {}
        match _list_type(schema):
            case "map":
                keys = schema["x-kubernetes-list-map-keys"]
                return ((key_part(item, keys, items), items, item) for item in value)
            case "set":
                return ((value_part(item), items, item) for item in value)
    return None


def flatten(schema: Schema, value: Any, path: Path = ()) -> dict[Path, Any]:
    """Every field of ``value`` by path: leaves with their value, containers with a marker."""
    result: dict[Path, Any] = {}
    granular = _granular(schema)
    parts = children(schema, value)
    if parts is None:
        if path:
            result[path] = _CONTAINER if value is None and granular else value
        return result
    if path:
        result[path] = _CONTAINER
    for part, below, item in parts:
        result.update(flatten(below, item, (*path, part)))
    return result


def _granular(schema: Schema) -> bool:
    if schema.get("type") == "array":
        return _list_type(schema) != "atomic"
    return schema.get("type") == "object" and schema.get("x-kubernetes-map-type") != "atomic"


def compare(schema: Schema, old: Any, new: Any) -> tuple[FieldSet, FieldSet]:
    """``(changed, removed)``: fields of ``new`` that are not or not so in ``old``, and fields that are gone."""
    before, after = flatten(schema, old), flatten(schema, new)
    changed = {path for path, value in after.items() if path not in before or not _same(before[path], value)}
    return frozenset(changed) - NOT_OWNED, frozenset(before.keys() - after.keys()) - NOT_OWNED


def _same(old: Any, new: Any) -> bool:
    return old == new and isinstance(old, bool) == isinstance(new, bool)  # in Python True equals 1


def applied_set(schema: Schema, value: Any, path: Path = ()) -> FieldSet:
    """What an applied configuration claims: leaves, empty containers and list entries.

    Raises DuplicateKey where a map or set list names an entry twice.
    """
    parts = children(schema, value)
    if parts is None:
        return frozenset({path}) if path else EMPTY
    result: set[Path] = set()
    seen: set[str] = set()
    for part, below, item in parts:
        if part in seen:
            raise DuplicateKey(f"{dotted(path)}: duplicate entries for key {bracketed(part)}")
        seen.add(part)
        result |= applied_set(below, item, (*path, part))
        if part[0] in "kv":
            result.add((*path, part))
    if not seen and path and isinstance(value, dict):  # an empty map is claimed, an empty list is not
        result.add(path)
    return frozenset(result) - NOT_OWNED


def remove(schema: Schema, value: Any, paths: FieldSet) -> Any:
    """``value`` without the fields at ``paths``."""
    return _remove(schema, value, paths, ())


def _remove(schema: Schema, value: Any, paths: FieldSet, path: Path) -> Any:
    parts = children(schema, value)
    if parts is None:
        return value
    kept = [
        (part, _remove(below, item, paths, (*path, part))) for part, below, item in parts if (*path, part) not in paths
    ]
    if isinstance(value, dict):
        return {part[2:]: item for part, item in kept}
    return [item for _, item in kept]


def merge(schema: Schema, live: Any, applied: Any) -> Any:
    """``live`` with everything that ``applied`` says, lists merged by their keys; new entries keep applied order."""
    if live is None or type(live) is not type(applied):
        return applied
    if isinstance(applied, dict) and schema.get("x-kubernetes-map-type") != "atomic":
        return _merge_maps(schema, live, applied)
    if isinstance(applied, list) and _list_type(schema) != "atomic":
        return _merge_lists(schema, live, applied)
    return applied


def _merge_maps(schema: Schema, live: dict[str, Any], applied: dict[str, Any]) -> dict[str, Any]:
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    below = extra if isinstance(extra, dict) else {}
    result = dict(live)
    for key, item in applied.items():
        result[key] = merge(properties.get(key, below), live.get(key), item)
    return result


def _merge_lists(schema: Schema, live: list[Any], applied: list[Any]) -> list[Any]:
    items = schema.get("items") or {}
    old = {part: item for part, _, item in children(schema, live) or ()}
    new = {part: item for part, _, item in children(schema, applied) or ()}
    merged = {part: merge(items, old.get(part), item) for part, item in new.items()}
    order = [part for part in old if part not in new]
    # entries of the configuration keep its order; those only in the live list keep their place before what follows them
    result: list[str] = []
    pending = list(new)
    for part in old:
        if part in new:
            while pending and part in pending:
                result.append(pending.pop(0))
        elif part in order:
            result.append(part)
    result += pending
    return [merged[part] if part in merged else old[part] for part in result]
