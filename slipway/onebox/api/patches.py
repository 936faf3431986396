"""JSON merge patch (RFC 7386), JSON patch (RFC 6902) and Kubernetes' strategic merge patch, on plain dicts."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.crd.structural import json_type
from slipway.onebox.api.errors import Refused, bad_request

Schema = Mapping[str, Any]
MAX_OPERATIONS = 10_000
"""Kubernetes' limit for one JSON patch."""
MAX_COPIED_BYTES = 3 * 1024 * 1024
"""All copy operations of one patch together, as a kube-apiserver limits them: copies of copies grow exponentially."""


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def _rejected() -> Refused:
    message = "the server rejected our request due to an error in our request"
    return Refused(422, message, reason="Invalid", details={})


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902. Every failing operation is a Refused 422, as a kube-apiserver answers it."""
    if not isinstance(operations, list):
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {json_type(operations)} into Go value of type []handlers.jsonPatchOp"
        )
    if len(operations) > MAX_OPERATIONS:
        raise Refused(
            413,
            f"Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}",
            reason="RequestEntityTooLarge",
        )
    root = {"": copy.deepcopy(target)}
    copied_bytes = 0
    try:
        for operation in operations:
            copied_bytes += _copied_bytes(root, operation)
            if copied_bytes > MAX_COPIED_BYTES:
                break
            _operate(root, operation)
        else:
            return root[""]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise _rejected() from exc
    raise _rejected()


def _copied_bytes(root: dict[str, Any], operation: Mapping[str, Any]) -> int:
    if operation["op"] != "copy":
        return 0
    return len(json.dumps(_find(root, _pointer(operation["from"]))))


def _operate(root: dict[str, Any], operation: Mapping[str, Any]) -> None:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            _add(root, path, copy.deepcopy(operation["value"]))
        case "remove":
            _take(root, path)
        case "replace":
            _take(root, path)
            _add(root, path, copy.deepcopy(operation["value"]))
        case "move":
            _add(root, path, _take(root, _pointer(operation["from"])))
        case "copy":
            _add(root, path, copy.deepcopy(_find(root, _pointer(operation["from"]))))
        case "test":
            if _find(root, path) != operation.get("value"):
                raise ValueError("test failed")
        case other:
            raise ValueError(f"unknown operation {other!r}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"not a JSON pointer: {text!r}")
    return [""] + [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _find(root: Any, path: Sequence[str]) -> Any:
    for part in path:
        root = root[_index(part, len(root) - 1)] if isinstance(root, list) else root[part]
    return root


def _index(part: str, last: int) -> int:
    if not part.isascii() or not part.isdigit() or (len(part) > 1 and part[0] == "0") or int(part) > last:
        raise IndexError(part)
    return int(part)


def _add(root: Any, path: Sequence[str], value: Any) -> None:
    parent, part = _find(root, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if part == "-" else _index(part, len(parent)), value)
    else:
        parent[part] = value


def _take(root: Any, path: Sequence[str]) -> Any:
    parent, part = _find(root, path[:-1]), path[-1]
    return parent.pop(_index(part, len(parent) - 1) if isinstance(parent, list) else part)


DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList/"
ORDER = "$setElementOrder/"


def strategic_merge(schema: Schema, target: Any, patch: dict[str, Any]) -> Any:
    """Kubernetes' strategic merge patch, guided by the merge keys of ``schema``. Refused 400 for a directive that is none."""
    _check_directives(patch)
    if patch.get(DIRECTIVE) == "replace":
        return {key: value for key, value in patch.items() if key != DIRECTIVE}
    if patch.get(DIRECTIVE) == "delete":
        return {}
    result = dict(target) if isinstance(target, dict) else {}
    if RETAIN in patch:
        result = {key: value for key, value in result.items() if key in patch[RETAIN]}
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key, value in patch.items():
        if key.startswith(DELETE_FROM):
            name = key.removeprefix(DELETE_FROM)
            result[name] = [item for item in result.get(name) or [] if item not in value]
        elif not key.startswith("$"):
            below = properties.get(key, extra if isinstance(extra, dict) else {})
            _merge_key(result, key, value, schema=below, order=patch.get(ORDER + key))
    for key, order in patch.items():
        name = key.removeprefix(ORDER)
        if key.startswith(ORDER) and name not in patch and isinstance(result.get(name), list):
            result[name] = _in_order(properties.get(name) or {}, result[name], order, live=result[name])
    return result


def _check_directives(patch: Mapping[str, Any]) -> None:
    for key, value in patch.items():
        if (key == RETAIN or key.startswith((DELETE_FROM, ORDER))) and not isinstance(value, list):
            raise bad_request(f"error decoding patch: {key}: a list is expected, not {json_type(value)}")


def _merge_key(result: dict[str, Any], key: str, value: Any, *, schema: Schema, order: Any) -> None:
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result[key] = strategic_merge(schema, result.get(key), value)
    elif isinstance(value, list):
        result[key] = _merge_list(schema, result.get(key) or [], value, order=order)
    else:
        result[key] = merge_patch(result.get(key), value)


def _merge_list(schema: Schema, target: list[Any], patch: list[Any], *, order: Any) -> list[Any]:
    if "merge" not in str(schema.get("x-kubernetes-patch-strategy", "")):
        return patch
    key = schema.get("x-kubernetes-patch-merge-key")
    if key is None:  # a set of primitive values
        return target + [item for item in patch if item not in target]
    if not all(isinstance(item, dict) for item in (*target, *patch)):
        raise _rejected()
    if any(item == {DIRECTIVE: "replace"} for item in patch):
        return [item for item in patch if item != {DIRECTIVE: "replace"}]
    merged = _merge_entries(schema["items"], target, patch, key=key)
    return _in_order(schema, merged, order or patch, live=target)


def _merge_entries(items: Schema, target: list[Any], patch: list[Any], *, key: str) -> list[Any]:
    result = list(target)
    for entry in patch:
        if key not in entry:
            shown = " ".join(f"{name}:{value}" for name, value in sorted(entry.items())) if entry else ""
            raise Refused(500, f"map: map[{shown}] does not contain declared merge key: {key}")
        position = next((i for i, old in enumerate(result) if old.get(key) == entry[key]), None)
        if entry.get(DIRECTIVE) == "delete":
            result = [old for old in result if old.get(key) != entry[key]]
        elif position is None:
            result.append(strategic_merge(items, {}, entry))
        elif entry.get(DIRECTIVE) == "replace":
            result[position] = {name: value for name, value in entry.items() if name != DIRECTIVE}
        else:
            result[position] = strategic_merge(items, result[position], entry)
    return result


def _in_order(schema: Schema, merged: list[Any], order: list[Any], *, live: list[Any]) -> list[Any]:
    """Entries named in ``order`` follow it; the others go before the first of those that they preceded in ``live``.

    This is Kubernetes' best-effort interleaving: an entry that is new therefore comes before those it does not know.
    """
    key = schema.get("x-kubernetes-patch-merge-key")

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted, before = [identity(item) for item in order], [identity(item) for item in live]
    right = sorted((item for item in merged if identity(item) in wanted), key=lambda item: wanted.index(identity(item)))
    left = [item for item in merged if identity(item) not in wanted]
    result: list[Any] = []
    while left and right:
        one, other = identity(left[0]), identity(right[0])
        is_before = one in before and other in before and before.index(one) < before.index(other)
        result.append(left.pop(0) if is_before else right.pop(0))
    return result + left + right
