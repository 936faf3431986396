"""Deleting: preconditions, grace, finalizers, propagation; and the namespace that takes its objects along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import quote
from slipway.crd.structural import json_type
from slipway.onebox.api.bodies import parse_json, parse_yaml
from slipway.onebox.api.columns import get
from slipway.onebox.api.errors import Refused, bad_request, conflict, describe
from slipway.onebox.api.objects import Objects
from slipway.onebox.api.target import Object, Target, options_refused, parse_int

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
LASTING_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system", "istio-system", "slipway-system")
"""Kubernetes' own (its NamespaceLifecycle, and the one that it makes anew), and the platform's: without the Gateway no
prediction is answered."""
DEFAULT_POD_GRACE_S = 30
MAX_GRACE_S = 2**31 - 1
"""Longer grace counts as so long: its end would be no date."""
OPTION_TYPES: Mapping[str, tuple[type, str]] = {
    "gracePeriodSeconds": (int, "int64"),
    "propagationPolicy": (str, "v1.DeletionPropagation"),
    "orphanDependents": (bool, "bool"),
    "dryRun": (list, "[]string"),
    "preconditions": (dict, "v1.Preconditions"),
}
POLICIES = {"Foreground": FOREGROUND, "Orphan": ORPHAN, "Background": ""}


@dataclass(frozen=True)
class DeleteOptions:
    """``grace_s`` None is the object's own; ``policy`` is Background, Foreground or Orphan."""

    grace_s: int | None = None
    policy: str = "Background"
    uid: str = ""
    version: str = ""
    dry_run: bool = False


def read_delete_body(body: bytes) -> Mapping[str, Any]:
    """The options as they were sent, JSON or YAML; none where there is no body. Refused 400."""
    if not body:
        return {}
    try:
        value = (parse_json(body) if body.lstrip()[:1] == b"{" else parse_yaml(body)).value
    except ValueError as exc:
        raise bad_request(f"error decoding DeleteOptions: {exc}") from exc
    if not isinstance(value, dict):
        raise bad_request("error decoding DeleteOptions: an object is expected")
    return value


def _check_types(body: Mapping[str, Any]) -> None:
    """Each field of the type that Go has for it. Refused 400."""
    _check_fields(body, OPTION_TYPES)
    _check_fields(body.get("preconditions") or {}, dict.fromkeys(("uid", "resourceVersion"), (str, "string")))
    for item in body.get("dryRun") or ():
        _check_fields({"dryRun": item}, {"dryRun": (str, "string")})


def _check_fields(values: Mapping[str, Any], types: Mapping[str, tuple[type, str]]) -> None:
    for name, (wanted, go_type) in types.items():
        value = values.get(name)
        if value is not None and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
            raise bad_request(
                f"error decoding DeleteOptions: json: cannot unmarshal {json_type(value)} "
                f"into Go struct field DeleteOptions.{name} of type {go_type}"
            )


def parse_delete_options(query: Mapping[str, str], body: Mapping[str, Any]) -> DeleteOptions:
    """From the query and the body together. Refused 422 for a policy that does not exist, 400 for a wrong type."""
    _check_types(body)
    policy = query.get("propagationPolicy") or body.get("propagationPolicy") or ""
    orphan_said = "orphanDependents" in query or body.get("orphanDependents") is not None
    if policy and orphan_said:
        message = f"Invalid value: {quote(policy)}: orphanDependents and deletionPropagation cannot be both set"
        raise options_refused("DeleteOptions", [Cause("propagationPolicy", message)])
    if not policy:
        orphan = query.get("orphanDependents") == "true" or body.get("orphanDependents") is True
        policy = "Orphan" if orphan else "Background"
    if policy not in POLICIES:
        message = f'Unsupported value: {quote(policy)}: supported values: "Foreground", "Background", "Orphan", "nil"'
        raise options_refused("DeleteOptions", [Cause("propagationPolicy", message, "FieldValueNotSupported")])
    dry_run = query.get("dryRun") or next(iter(body.get("dryRun") or ()), "")
    if dry_run not in ("", "All"):
        message = f'Unsupported value: []string{{{quote(dry_run)}}}: supported values: "All"'
        raise options_refused("DeleteOptions", [Cause("dryRun", message, "FieldValueNotSupported")])
    grace = body.get("gracePeriodSeconds")
    if query.get("gracePeriodSeconds"):
        grace = parse_int(query["gracePeriodSeconds"])
    if grace is not None and grace < 0:
        message = f"Invalid value: {grace}: must be a non-negative whole number"
        raise options_refused("DeleteOptions", [Cause("gracePeriodSeconds", message)])
    conditions = body.get("preconditions") or {}
    return DeleteOptions(
        grace, policy, str(conditions.get("uid") or ""), str(conditions.get("resourceVersion") or ""), dry_run == "All"
    )


@dataclass(frozen=True)
class Deleted:
    """``obj`` as it is now or was last; ``is_gone`` False where it lives on for a while."""

    obj: Object
    is_gone: bool


class Deletion:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._store = objects.store

    def delete(self, target: Target, options: DeleteOptions) -> Deleted:
        """Refused 404, or 409 where a precondition fails."""
        live = self._objects.stored(target)
        self._check(target, live, options)
        if target.resource.storage == "namespaces" and target.name in LASTING_NAMESPACES:
            message = f'namespaces "{target.name}" is forbidden: this namespace may not be deleted'
            raise Refused(403, message, reason="Forbidden", details=describe(target.name, "", "namespaces"))
        meta = dict(live["metadata"])
        finalizers = list(meta.get("finalizers") or ())
        marker = POLICIES[options.policy]
        if marker and marker not in finalizers and not meta.get("deletionTimestamp"):
            finalizers.append(marker)
        grace_s = self._grace(target, live, options)
        holds = bool(finalizers) or grace_s > 0 or target.resource.storage == "namespaces"
        if not holds:
            gone = live if options.dry_run else self._store.remove(target.resource.storage, target.key)
            return Deleted(self._objects.shown(target, gone), is_gone=True)
        return self._mark(target, live, finalizers, grace_s=grace_s, dry_run=options.dry_run)

    def _mark(self, target: Target, live: Object, finalizers: list[str], *, grace_s: int, dry_run: bool) -> Deleted:
        """Set ``deletionTimestamp``; a second delete may only shorten the grace."""
        meta = dict(live["metadata"])
        shorter = grace_s < meta.get("deletionGracePeriodSeconds", 0)
        if meta.get("deletionTimestamp") and not shorter:
            return Deleted(self._objects.shown(target, live), is_gone=False)
        ends = datetime.now(UTC) + timedelta(seconds=grace_s)
        meta["deletionTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        meta["deletionGracePeriodSeconds"] = grace_s
        if finalizers:
            meta["finalizers"] = finalizers
        if target.resource.has_generation:
            meta["generation"] = meta.get("generation", 0) + 1
        obj = {**live, "metadata": meta}
        if target.resource.storage == "namespaces":
            meta.pop("deletionGracePeriodSeconds")
            obj["status"] = {**(live.get("status") or {}), "phase": "Terminating"}
        if not dry_run:
            obj = self._store.put(target.resource.storage, target.key, obj)
        return Deleted(self._objects.shown(target, obj), is_gone=False)

    @staticmethod
    def _grace(target: Target, live: Object, options: DeleteOptions) -> int:
        """Only Pods that a runner has taken up get grace; all others go at once."""
        if target.resource.storage != "pods":
            return 0
        started = get(live, "spec.nodeName") or get(live, "status.containerStatuses") or get(live, "status.podIP")
        if not started or get(live, "status.phase") in ("Succeeded", "Failed"):
            return 0
        asked = options.grace_s
        if asked is None:
            asked = int(get(live, "spec.terminationGracePeriodSeconds", DEFAULT_POD_GRACE_S))
            asked = asked if asked >= 0 else 1  # as Kubernetes reads a negative one
        return min(asked, MAX_GRACE_S)

    @staticmethod
    def _check(target: Target, live: Object, options: DeleteOptions) -> None:
        kind, group, meta = target.resource.kind, target.resource.group, live["metadata"]
        if options.uid and options.uid != meta["uid"]:
            why = f"the UID in the precondition ({options.uid}) does not match the UID in record ({meta['uid']}). The object might have been deleted and then recreated"
            raise conflict(kind, group, target.name, why)
        if options.version and options.version != meta["resourceVersion"]:
            why = f"the ResourceVersion in the precondition ({options.version}) does not match the ResourceVersion in record ({meta['resourceVersion']}). The object might have been modified"
            raise conflict(kind, group, target.name, why)

    @staticmethod
    def status(target: Target, deleted: Deleted) -> Object:
        """The body of the answer when the object is gone."""
        details = describe(target.name, target.resource.group, target.resource.plural)
        details["uid"] = deleted.obj["metadata"]["uid"]
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def drop_finalizer(self, storage: str, key: tuple[str, str], name: str) -> None:
        """Let go of one finalizer; with the last one the object goes."""
        live = self._store.get(storage, key)
        if live is None:
            return
        meta = dict(live["metadata"])
        left = [item for item in meta.get("finalizers") or () if item != name]
        if left:
            meta["finalizers"] = left
        else:
            meta.pop("finalizers", None)
        if not left and meta.get("deletionTimestamp") and not meta.get("deletionGracePeriodSeconds"):
            self._store.remove(storage, key)
        else:
            self._store.put(storage, key, {**live, "metadata": meta})
