"""Is a schema structural? The rules of Kubernetes' page "Extend the Kubernetes API with CustomResourceDefinitions",
section "Specifying a structural schema", for schemas without anyOf, oneOf, allOf and not, which ours have no need of.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ALLOWED = frozenset(
    [
        "type",
        "format",
        "description",
        "properties",
        "additionalProperties",
        "items",
        "required",
        "maxItems",
        "maxLength",
        "nullable",
        "default",
    ]
) | {
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-validations",
}
"""What our schema may say. Forbidden to all: $ref, definitions, dependencies, deprecated, discriminator, id, patternProperties,
readOnly, writeOnly, xml, uniqueItems: true."""
OPEN = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string")
MAX_MESSAGE = 2048


def faults(schema: Any, path: str = "") -> Iterator[str]:
    """Every breach with its place."""
    if not isinstance(schema, dict):
        yield f"{path}: no schema"
        return
    yield from (f"{path}: {key} may not stand here" for key in sorted(schema.keys() - ALLOWED))
    if not schema.get("type") and not any(schema.get(key) for key in OPEN):
        yield f"{path}: without a type"
    if schema.get("type") and schema.get("x-kubernetes-int-or-string"):
        yield f"{path}: int-or-string with a type"
    extra = schema.get("additionalProperties")
    if extra is False or (extra is not None and schema.get("properties")):
        yield f"{path}: additionalProperties false, or beside properties"
    if schema.get("type") == "array" and "items" not in schema:
        yield f"{path}: a list without items"
    if missing := [name for name in schema.get("required") or () if name not in (schema.get("properties") or {})]:
        yield f"{path}: required, but no property: {missing}"
    yield from _faults_of_rules(schema, path)
    for name, child in (schema.get("properties") or {}).items():
        if path == "" and name in ("apiVersion", "kind", "metadata"):
            yield f"{name}: the API server's own"
        yield from faults(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema and schema[key] is not True:
            yield from faults(schema[key], f"{path}.{key}")


def _faults_of_rules(schema: dict[str, Any], path: str) -> Iterator[str]:
    for check in schema.get("x-kubernetes-validations") or ():
        if not check.get("rule") or "\n" in check.get("message", "\n") or len(check["message"]) > MAX_MESSAGE:
            yield f"{path}: a rule without an expression, or without a message of one line"
