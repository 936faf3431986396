"""What the controller keeps of an object: what the API writes for field managers is often half of it."""

from __future__ import annotations

from slipway.controller.drift import foreign_entries, is_our_apply
from slipway.controller.meta import Object


def slim(obj: Object) -> Object:
    """Of ``managedFields`` only ours, of Deployments, which say whose replicas are, and the fields that others took from us."""
    meta = obj["metadata"]
    if "managedFields" not in meta:
        return obj
    ours = [entry for entry in meta["managedFields"] if obj.get("kind") == "Deployment" and is_our_apply(entry)]
    kept = [*ours, *foreign_entries(obj)]
    rest = {key: value for key, value in meta.items() if key != "managedFields"}
    return {**obj, "metadata": {**rest, "managedFields": kept} if kept else rest}
