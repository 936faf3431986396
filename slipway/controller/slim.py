"""What the controller keeps of an object: what the API writes for field managers is often half of it."""

from __future__ import annotations

from slipway.controller.autoscaling import is_our_apply
from slipway.controller.meta import Object


def slim(obj: Object) -> Object:
    """Without the fields of other managers; ours say which replicas are ours."""
    meta = obj["metadata"]
    if "managedFields" not in meta:
        return obj
    ours = [entry for entry in meta["managedFields"] if obj.get("kind") == "Deployment" and is_our_apply(entry)]
    rest = {key: value for key, value in meta.items() if key != "managedFields"}
    return {**obj, "metadata": {**rest, "managedFields": ours} if ours else rest}
