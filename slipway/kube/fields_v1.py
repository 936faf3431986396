"""FieldsV1, the sets of fields in ``managedFields``: https://kubernetes.io/docs/reference/using-api/server-side-apply/.

A set is a frozenset of paths; a path is a tuple of ``f:name``, ``k:{keys}`` and ``v:value`` parts. A path stands for
its own field: a map's path is its existence (FieldsV1 writes it as ``"."``).
"""

from __future__ import annotations

import json
from typing import Any

Path = tuple[str, ...]
FieldSet = frozenset[Path]
EMPTY: FieldSet = frozenset()


def to_fields_v1(fields: FieldSet) -> dict[str, Any]:
    """The FieldsV1 form."""
    root: dict[str, Any] = {}
    for path in sorted(fields):
        node = root
        for part in path:
            node = node.setdefault(part, {})
    for path in fields:
        node = root
        for part in path:
            node = node[part]
        if node:
            node["."] = {}
    return _ordered(root)


def _ordered(node: dict[str, Any]) -> dict[str, Any]:
    return {key: _ordered(node[key]) for key in sorted(node)}


def from_fields_v1(node: Any, path: Path = ()) -> FieldSet:
    """The set of a FieldsV1 document; parts that are no such document are ignored."""
    if not isinstance(node, dict):
        return EMPTY
    if not node:
        return frozenset({path}) if path else EMPTY
    result: set[Path] = set()
    for part, below in node.items():
        if part == ".":
            result.add(path)
        elif part[:2] in ("f:", "k:", "v:"):
            result |= from_fields_v1(below, (*path, part))
    return frozenset(result)


def with_parents(fields: FieldSet) -> FieldSet:
    return frozenset(path[:length] for path in fields for length in range(1, len(path) + 1))


def dotted(path: Path) -> str:
    """A path as Kubernetes prints it in a conflict: ``.spec.containers[name="web"].image``."""
    text = ""
    for part in path:
        text += f".{part[2:]}" if part.startswith("f:") else bracketed(part)
    return text


def bracketed(part: str) -> str:
    """The entry of a list that a ``k:`` or ``v:`` part names."""
    if part.startswith("v:"):
        return f"[={part[2:]}]"
    try:
        keys = json.loads(part[2:])
    except ValueError:  # a client may write what it likes into managedFields
        keys = None
    shown = [f"{key}={json.dumps(value)}" for key, value in keys.items()] if isinstance(keys, dict) else [part[2:]]
    return f"[{','.join(shown)}]"
