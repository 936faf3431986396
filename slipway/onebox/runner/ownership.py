"""Whose an object is: a workload adopts what its selector matches and nobody controls, and lets go of what it no longer matches.

The rules are those of Kubernetes' controllers (``ControllerRefManager``). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slipway.kube.kinds import Kind
from slipway.kube.selectors import selector_matches
from slipway.onebox.runner.workload_steps import (
    Change,
    Object,
    Step,
    controller_uid,
    is_going,
    oldest_first,
    owned_by,
    owner_reference,
)


def claim(owner: Object, kind: Kind, objects: Sequence[Object]) -> tuple[list[Object], list[Step]]:
    """(what is ``owner``'s, oldest first, the steps that make it so). ``objects`` are all of ``kind`` in the namespace.

    Where an adoption is refused, nothing that was planned with it is to be done.
    """
    mine, selector = owned_by(owner, objects), owner["spec"].get("selector")
    if not selector:  # such an owner keeps what it made, and adopts nothing
        return mine, []
    left = [obj for obj in mine if not _selects(selector, obj)]
    found = [obj for obj in objects if controller_uid(obj) is None and not is_going(obj) and _selects(selector, obj)]
    steps: list[Step] = [
        Change(kind, obj, _adopted(obj, owner), "nobody's, and the selector matches", is_adoption=True) for obj in found
    ]
    steps += [Change(kind, obj, _released(obj, owner), "the selector no longer matches") for obj in left]
    return oldest_first([*(obj for obj in mine if _selects(selector, obj)), *found]), steps


def _selects(selector: Object, obj: Object) -> bool:
    return selector_matches(selector, obj["metadata"].get("labels") or {})


def _adopted(obj: Object, owner: Object) -> dict[str, Any]:
    return _references(obj, [*(obj["metadata"].get("ownerReferences") or ()), owner_reference(owner)])


def _released(obj: Object, owner: Object) -> dict[str, Any]:
    others = [item for item in obj["metadata"]["ownerReferences"] if item.get("uid") != owner["metadata"]["uid"]]
    return _references(obj, others or None)


def _references(obj: Object, references: list[Any] | None) -> dict[str, Any]:
    """The whole list is written: only onto the version that it was read from."""
    version = obj["metadata"].get("resourceVersion")
    return {"metadata": {**({"resourceVersion": version} if version else {}), "ownerReferences": references}}
