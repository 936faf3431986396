"""Desired and observed objects → what to write and what to delete."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from slipway.controller.autoscaling import kept_replicas
from slipway.controller.drift import first_foreign
from slipway.controller.handover import (
    has_leaving_entries,
    is_entry,
    is_idle,
    strands_requests,
    switches_too_early,
)
from slipway.controller.meta import APPLIED, Object
from slipway.controller.pod_labels import unrestarted
from slipway.controller.readiness import is_ready

CALLED = frozenset({"Deployment", "Service", "VirtualService", "DestinationRule"})
"""Kinds of what a call of a node in another Pod goes through."""

ObjectKey = tuple[str, str]
"""(kind, name); all are in the SeldonDeployment's namespace."""

AMOUNTS = re.compile(r"\.(requests|limits)\.|\.sizeLimit$|\.target\.(averageValue|value)$")
"""Fields whose text is a quantity."""
QUANTITY = re.compile(r"(?P<number>[+-]?[0-9]{1,30}(\.[0-9]{1,30})?(e[0-9]{1,2})?)(?P<suffix>[numkMGTPE]|[KMGTPE]i|)")
FACTORS = {
    **{
        suffix: Decimal(1000) ** power
        for power, suffix in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
    },
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


@dataclass(frozen=True)
class Step:
    """One write. ``reason`` says why in a few words."""

    verb: Literal["Create", "Update", "Delete"]
    object: Object
    reason: str

    def __str__(self) -> str:
        return f"{self.verb.lower()} {self.object['kind']} {self.object['metadata']['name']}   {self.reason}"


def key_of(obj: Mapping[str, Any]) -> ObjectKey:
    return obj["kind"], obj["metadata"]["name"]


def stamped(obj: Object) -> Object:
    """``obj`` with the digest of itself in ``APPLIED``."""
    digest = hashlib.sha256(json.dumps(obj, sort_keys=True).encode()).hexdigest()[:16]
    meta = obj["metadata"]
    return {**obj, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), APPLIED: digest}}}


def fingerprint(obj: Mapping[str, Any]) -> str:
    """Of everything that an apply decides: not the status, not what the API itself writes into metadata."""
    body = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    meta = {key: obj["metadata"].get(key) for key in ("labels", "annotations", "ownerReferences")}
    return hashlib.sha256(json.dumps([body, meta], sort_keys=True).encode()).hexdigest()


def actions(
    desired: Sequence[Object],
    observed: Mapping[ObjectKey, Object],
    accepted: Mapping[ObjectKey, str] | None = None,
    pods: Sequence[Object] = (),
) -> list[Step]:
    """Writes in the order of ``desired``, then deletions; none when everything is as it should be.

    ``observed`` holds the objects that this SeldonDeployment owns, ``pods`` are its Pods. What is left over may still
    serve: it is deleted only when nothing else is to be written and every desired Deployment is ready; one whose Pods no
    Service selects serves nobody, and is not waited for. What an executor calls outlives the executor's Pods, which
    answer what is under way. ``accepted``: the fingerprint of what the API made of the last apply where it did not take
    it literally; that is no difference.
    """
    steps, held = changes(desired, observed, accepted)
    wanted_keys = {key_of(obj) for obj in desired}
    settled = not steps and not held and all(is_ready(observed[key]) for key in wanted_keys if key[0] == "Deployment")
    left_over = [observed[key] for key in sorted(observed.keys() - wanted_keys) if not _is_going(observed[key])]
    left_over.sort(key=lambda obj: obj["kind"] == "Deployment")
    services, deployments = _of_kind("Service", observed), _of_kind("Deployment", observed)
    idle = [obj for obj in left_over if obj["kind"] == "Deployment" and is_idle(obj, deployments, services)]
    staying = [observed[key] for key in wanted_keys & observed.keys() if key[0] == "Deployment"]
    is_called = any(map(is_entry, left_over)) or has_leaving_entries(pods, staying)
    return steps + [
        Step("Delete", obj, "not declared")
        for obj in left_over
        if (settled or obj in idle) and not (is_called and _is_behind_executors(obj))
    ]


def _is_behind_executors(obj: Mapping[str, Any]) -> bool:
    """Whether calls of executors may go there."""
    return obj["kind"] in CALLED and not is_entry(obj)


def _of_kind(kind: str, observed: Mapping[ObjectKey, Object]) -> list[Object]:
    return [obj for key, obj in observed.items() if key[0] == kind]


def changes(
    desired: Sequence[Object], observed: Mapping[ObjectKey, Object], accepted: Mapping[ObjectKey, str] | None = None
) -> tuple[list[Step], list[Step]]:
    """(what to write now, in the order of ``desired``; what is held until something is ready to take requests)."""
    steps: list[Step] = []
    held: list[Step] = []
    for item in desired:
        found = observed.get(key_of(item))
        plain = kept_replicas(unrestarted(item, found), found)
        wanted = stamped(plain)
        if found is None:
            steps.append(Step("Create", wanted, "missing"))
            continue
        reason = first_foreign(found) or _differs(plain, found) or _differs(wanted, found)  # the stamp says least
        if reason and not _is_accepted(wanted, found, accepted or {}):
            step = Step("Update", wanted, reason)
            (held if _must_wait(wanted, found, desired, observed) else steps).append(step)
    return steps, held


def _differs(wanted: Object, found: Object) -> str | None:
    difference = first_difference(wanted, found)
    return f"{difference} differs" if difference else None


def _is_accepted(wanted: Object, found: Object, accepted: Mapping[ObjectKey, str]) -> bool:
    """The same apply gave exactly this before: one more would change nothing."""
    found_digest = (found["metadata"].get("annotations") or {}).get(APPLIED)
    is_same = found_digest == wanted["metadata"]["annotations"][APPLIED]
    return is_same and accepted.get(key_of(wanted)) == fingerprint(found)


def _must_wait(wanted: Object, found: Object, desired: Sequence[Object], observed: Mapping[ObjectKey, Object]) -> bool:
    if wanted["kind"] == "VirtualService":
        return strands_requests(wanted, found, _of_kind("Deployment", observed))
    if wanted["kind"] == "Service":
        declared = [obj for obj in desired if obj["kind"] == "Deployment"]
        return switches_too_early(wanted, found, declared, _of_kind("Deployment", observed))
    return False


def _is_going(obj: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def first_difference(wanted: Any, found: Any, path: str = "") -> str | None:
    """The first field of ``wanted`` that ``found`` has otherwise; fields that only ``found`` has do not count."""
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return path
        pairs = ((f"{path}.{key}".lstrip("."), value, found.get(key)) for key, value in wanted.items())
        return next((hit for name, value, other in pairs if (hit := first_difference(value, other, name))), None)
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        if not isinstance(found, Sequence) or len(wanted) != len(found):
            return path if wanted or found else None
        pairs_of_items = enumerate(zip(wanted, found, strict=True))
        return next(
            (hit for index, (a, b) in pairs_of_items if (hit := first_difference(a, b, f"{path}[{index}]"))), None
        )
    same = wanted == found or (not wanted and found is None) or (AMOUNTS.search(path) and _same_amount(wanted, found))
    return None if same else path


def _same_amount(wanted: Any, found: Any) -> bool:
    """Whether two quantities mean the same: an API writes 0.5 as 500m and 1024Mi as 1Gi."""
    one, other = amount(str(wanted)), amount(str(found))
    return one is not None and one == other


def amount(text: str) -> Decimal | None:
    """A Kubernetes quantity as a number; None for what is none."""
    match = QUANTITY.fullmatch(text)
    return Decimal(match["number"]) * FACTORS[match["suffix"]] if match else None
