"""May this object be stored? Every rule of its kind, all violations together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slipway.contract.causes import Cause
from slipway.crd.structural import validate
from slipway.onebox.api.columns import get
from slipway.onebox.api.errors import invalid
from slipway.onebox.api.meta_rules import check_finalizers, check_meta, check_name
from slipway.onebox.api.target import Object, Target

Review = Callable[[Object], Sequence[Cause]]
"""Causes of a 422; or it raises Refused."""
Guard = Callable[[Target, Object, Object | None], None]
"""May this be written, by whoever asks? Given the new object and the old one; raises Refused."""


def unguarded(target: Target, new: Object, old: Object | None) -> None:
    """The platform itself writes."""
    del target, new, old


def check_object(target: Target, new: Object, old: Object | None, *, review: Review | None) -> None:
    """Every rule of the kind; Refused 422 with all causes together."""
    resource, meta = target.resource, new["metadata"]
    causes: list[Cause] = []
    if old is None:
        causes += check_name(meta["name"], resource.name_rule)
    causes += check_meta(meta)
    causes += [] if resource.is_custom else check_finalizers(meta)
    if old is not None and old["metadata"].get("deletionTimestamp"):
        causes += _new_finalizers(old, new) * (2 if resource.is_custom else 1)  # Kubernetes checks those twice
    if resource.is_custom:
        causes += _check_custom(target, new, created=old is None)
    if target.subresource == "":
        causes += resource.check(new, old)
        if review is not None and not causes and not meta.get("deletionTimestamp"):
            causes += review(new)
    if causes:
        raise invalid(resource.kind, resource.group, meta["name"], causes)


def _check_custom(target: Target, new: Object, *, created: bool) -> list[Cause]:
    body = {key: value for key, value in new.items() if key not in ("apiVersion", "kind", "metadata")}
    found = validate(target.version.schema, body, path="")
    causes = [Cause(violation.field, violation.message, violation.reason) for violation in found]
    if target.resource.scale:
        causes += _check_replicas(new, target.resource.scale.spec)
    if causes and created and target.resource.rules:
        message = 'Invalid value: "null": some validation rules were not checked because the object was invalid; correct the existing errors to complete validation'
        causes.append(Cause("<nil>", message))
    return causes


def _new_finalizers(old: Object, new: Object) -> list[Cause]:
    before = set(old["metadata"].get("finalizers") or ())
    added = sorted(set(new["metadata"].get("finalizers") or ()) - before)
    if not added:
        return []
    shown = ", ".join(f'"{name}"' for name in added)
    message = f"Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{shown}}}"
    return [Cause("metadata.finalizers", message, "FieldValueForbidden")]


def _check_replicas(obj: Object, path: str) -> list[Cause]:
    value = get(obj, path)
    if isinstance(value, bool) or (value is not None and not isinstance(value, int | float)):
        kind = {"str": "string"}.get(type(value).__name__, type(value).__name__)
        message = f"Invalid value: 0: .{path} accessor error: {value} is of the type {kind}, expected int64"
        return [Cause(f".{path}", message)]
    if value is not None and value < 0:
        return [Cause(f".{path}", f"Invalid value: {value}: should be a non-negative integer")]
    return []
