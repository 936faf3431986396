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
    owner_reference,
)


def claim(owner: Object, kind: Kind, objects: Sequence[Object]) -> tuple[list[Object], list[Step]]:
    """(what is ``owner``'s, oldest first, the steps that make it so). ``objects`` are all of ``kind`` in the namespace.

    An owner without a selector keeps what it made, and adopts nothing. Where an adoption is refused, nothing that was planned with it is to be done.
    """
    uid, selector = owner["metadata"]["uid"], owner["spec"].get("selector")
    mine: list[Object] = []
    steps: list[Step] = []
    for obj in objects:
        holder = controller_uid(obj)
        if holder == uid and (not selector or _selects(selector, obj)):
            mine.append(obj)
        elif holder == uid:
            steps.append(Change(kind, obj, _released(obj, owner), "the selector no longer matches"))
        elif holder is None and selector and not is_going(obj) and _selects(selector, obj):
            mine.append(obj)
            reason = "nobody's, and the selector matches"
            steps.append(Change(kind, obj, _adopted(obj, owner), reason, is_adoption=True))
    return oldest_first(mine), sorted(steps, key=_is_release)


def _is_release(step: Step) -> bool:
    """Adoptions come first: where one is refused, the owner is going, and lets go of nothing either."""
    return not (isinstance(step, Change) and step.is_adoption)


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
