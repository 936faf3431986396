"""The scale sub-resource: a view on three fields of an object."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from slipway.contract.causes import Cause
from slipway.onebox.api.columns import get, selector_text
from slipway.onebox.api.errors import Refused, bad_request, invalid
from slipway.onebox.api.objects import Objects, Outcome
from slipway.onebox.api.preconditions import check_version
from slipway.onebox.api.resources import Scale
from slipway.onebox.api.target import Object, Options, Target

API_VERSION = "autoscaling/v1"


def render_scale(target: Target, obj: Mapping[str, Any], scale: Scale) -> Object:
    """The Scale of an object. Refused 500 where a custom resource says no replicas, as Kubernetes does."""
    replicas = get(obj, scale.spec)
    if replicas is None and target.resource.is_custom:
        message = f'the spec replicas field ".{scale.spec}" does not exist'
        details = {"causes": [{"message": message}]}
        raise Refused(500, f"Internal error occurred: {message}", reason="InternalError", details=details)
    meta = obj["metadata"]
    status: Object = {"replicas": get(obj, scale.status, 0)}
    selector = selector_text(get(obj, "spec.selector")) if not scale.selector else get(obj, scale.selector, "")
    if selector:
        status["selector"] = selector
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": API_VERSION,
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def blank_scale(target: Target, obj: Mapping[str, Any], scale: Scale) -> Object:
    """The Scale to patch: replicas 0 where the object has none."""
    if get(obj, scale.spec) is None:
        obj = _with(obj, scale.spec, 0)
    return render_scale(target, obj, scale)


def write_scale(objects: Objects, target: Target, new: Mapping[str, Any], scale: Scale, options: Options) -> Outcome:
    """Take the replicas of a Scale into its object."""
    if new.get("kind", "Scale") != "Scale":
        raise bad_request(f"the object provided is a {new.get('kind')}: a Scale of {API_VERSION} is expected here")
    if not isinstance(new.get("metadata") or {}, dict):
        raise bad_request("Scale: metadata must be an object")
    replicas = get(new, "spec.replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("Scale: spec.replicas must be a whole number")
    if replicas < 0 and not target.resource.is_custom:
        cause = Cause("spec.replicas", f"Invalid value: {replicas}: must be greater than or equal to 0")
        raise invalid("Scale", "autoscaling", target.name, [cause])
    live = objects.stored(target)
    check_version(target, live, new.get("metadata") or {})
    changed = _with(objects.shown(target, live), scale.spec, replicas)
    changed["metadata"] = {key: value for key, value in changed["metadata"].items() if key != "managedFields"}
    return objects.update(target, live, changed, options)


def _with(obj: Mapping[str, Any], path: str, value: Any) -> Object:
    result = copy.deepcopy(dict(obj))
    *parents, last = path.split(".")
    node = result
    for part in parents:
        node = node.setdefault(part, {})
    node[last] = value
    return result
