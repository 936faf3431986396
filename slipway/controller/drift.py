"""What others wrote into the objects that the controller makes, where only the SeldonDeployment has a say.

Server-side apply leaves alone what it does not name: a variable of `kubectl set env` would stay for ever. So such a field is made
the controller's own first, by one write of ``managedFields`` alone, and its next apply, which does not name it, takes it away. It
is how client-go moves fields from one manager to another:
https://github.com/kubernetes/client-go/blob/master/util/csaupgrade/upgrade.go
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.controller.meta import APPLIED, MANAGER, Object
from slipway.kube.fields_v1 import FieldSet, Path, dotted, from_fields_v1, to_fields_v1, with_parents

SPEC: Sequence[Path] = (("f:spec",),)
OWN: Mapping[str, Sequence[Path]] = {
    "Deployment": (("f:spec", "f:template", "f:spec"),),
    "Service": (("f:spec", "f:ports"), ("f:spec", "f:selector")),
    "ConfigMap": (("f:data",), ("f:binaryData",)),
    **dict.fromkeys(
        ("VirtualService", "DestinationRule", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ScaledObject"), SPEC
    ),
}
"""Whose values are the SeldonDeployment's alone, by kind. Not here: replicas, which autoscalers write; `paused` and the Pods' labels
and annotations, which `kubectl rollout` writes; what a Service may have beside ports and selector."""


def is_our_apply(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of ``managedFields`` is of the controller's own applies."""
    return entry.get("manager") == MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")


def foreign_entries(obj: Mapping[str, Any]) -> list[Object]:
    """Entries of ``managedFields`` with the fields alone that are ours to say and that others wrote."""
    own = OWN.get(str(obj.get("kind")), ())
    entries = obj["metadata"].get("managedFields") or ()
    others = [entry for entry in entries if entry.get("manager") != MANAGER and not entry.get("subresource")]
    found = ((entry, _within(from_fields_v1(entry.get("fieldsV1")), own)) for entry in others)
    mixed = [(entry, fields) for entry, fields in found if fields]
    if not mixed:
        return []
    ours = with_parents(_ours(entries))
    return [{**entry, "fieldsV1": to_fields_v1(fields - ours)} for entry, fields in mixed if fields - ours]


def first_foreign(obj: Mapping[str, Any]) -> str | None:
    """The first field that others wrote and ours is to say, with who it was."""
    hits = [(path, entry) for entry in foreign_entries(obj) for path in from_fields_v1(entry["fieldsV1"])]
    if not hits:
        return None
    path, entry = min(hits, key=lambda hit: (len(hit[0]), hit[0]))
    return f"{dotted(path).lstrip('.')} of {entry.get('manager')} is taken away"


def taken_over(live: Mapping[str, Any]) -> Object | None:
    """A merge patch that makes the foreign fields of ``live``, with its whole ``managedFields``, ours; None without any.

    The digest of the last apply goes along: whatever happens before the next one, the object differs from what is desired.
    """
    meta, foreign = live["metadata"], frozenset(_paths(foreign_entries(live)))
    ours = next((entry for entry in meta.get("managedFields") or () if is_our_apply(entry)), None)
    if not foreign or ours is None:
        return None
    own = {**ours, "fieldsV1": to_fields_v1(from_fields_v1(ours.get("fieldsV1")) | foreign)}
    entries = [own if entry is ours else _without(entry, foreign) for entry in meta["managedFields"]]
    identity = {key: meta[key] for key in ("uid", "resourceVersion")}
    left = [entry for entry in entries if entry.get("fieldsV1")]
    return {"metadata": {**identity, "annotations": {APPLIED: None}, "managedFields": left}}


def _ours(entries: Sequence[Mapping[str, Any]]) -> FieldSet:
    return frozenset(_paths(entry for entry in entries if is_our_apply(entry)))


def _paths(entries: Any) -> Iterator[Path]:
    for entry in entries:
        yield from from_fields_v1(entry.get("fieldsV1"))


def _without(entry: Mapping[str, Any], fields: FieldSet) -> Object:
    """Entries of sub-resources and of our own updates keep what they have: the fields of neither are foreign."""
    if entry.get("manager") == MANAGER or entry.get("subresource"):
        return dict(entry)
    return {**entry, "fieldsV1": to_fields_v1(from_fields_v1(entry.get("fieldsV1")) - fields)}


def _within(fields: FieldSet, regions: Sequence[Path]) -> FieldSet:
    return frozenset(path for path in fields if any(path[: len(region)] == region for region in regions))
