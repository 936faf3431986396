"""Eviction of a Pod: a delete that its PodDisruptionBudget may refuse, as ``kubectl drain`` and operators ask for it.

https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from slipway.crd.structural import json_type
from slipway.kube.selectors import selector_matches
from slipway.onebox.api.columns import get
from slipway.onebox.api.deletion import Deletion, parse_delete_options
from slipway.onebox.api.errors import Refused, bad_request
from slipway.onebox.api.objects import Objects
from slipway.onebox.api.target import Object, Target

BUDGETS = "poddisruptionbudgets.policy"
RETRY_S = 10


def evict(objects: Objects, deletion: Deletion, target: Target, body: Mapping[str, Any]) -> None:
    """Refused 429 where the budget allows none now, 500 where two budgets are about the Pod, 404, 409 as a delete."""
    given = body.get("deleteOptions") or {}
    if not isinstance(given, Mapping):
        raise bad_request(
            'Eviction in version "v1" cannot be handled as a Eviction: json: cannot unmarshal '
            f"{json_type(given)} into Go struct field Eviction.deleteOptions of type v1.DeleteOptions"
        )
    options = parse_delete_options({}, given)
    pod = objects.stored(target)
    if _needs_no_leave(pod):
        deletion.delete(target, options)
        return
    budgets = objects.store.all(BUDGETS)
    found = [key for key, budget in budgets.items() if key[0] == target.namespace and _is_about(budget, pod)]
    if len(found) > 1:
        text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise Refused(500, text, reason="InternalError")
    if found:
        counted = _counted(budgets[found[0]], pod)
        if not options.dry_run and counted is not None:
            objects.store.put(BUDGETS, found[0], counted)
    deletion.delete(target, options)


def _needs_no_leave(pod: Object) -> bool:
    is_over = get(pod, "status.phase") in ("Succeeded", "Failed", "Pending")
    return is_over or bool(get(pod, "metadata.deletionTimestamp"))


def _is_about(budget: Object, pod: Object) -> bool:
    selector = get(budget, "spec.selector")
    return selector is not None and selector_matches(selector, get(pod, "metadata.labels", {}))


def _counted(budget: Object, pod: Object) -> Object | None:
    """The budget with one eviction less; None for a Pod that is not healthy anyway. Refused 429."""
    status = get(budget, "status", {})
    current, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if not _is_ready(pod) and (
        get(budget, "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow" or 0 < desired <= current
    ):
        return None
    is_known = status.get("observedGeneration", 0) >= get(budget, "metadata.generation", 0)
    if not is_known or status.get("disruptionsAllowed", 0) < 1:
        name = budget["metadata"]["name"]
        why = f"The disruption budget {name} needs {desired} healthy pods and has {current} currently"
        raise Refused(
            429,
            "Cannot evict pod as it would violate the pod's disruption budget.",
            reason="TooManyRequests",
            details={"causes": [{"reason": "DisruptionBudget", "message": why}]}
            | ({} if is_known else {"retryAfterSeconds": RETRY_S}),
        )
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    disrupted = {**(status.get("disruptedPods") or {}), pod["metadata"]["name"]: at}
    changed = {**status, "disruptionsAllowed": status["disruptionsAllowed"] - 1, "disruptedPods": disrupted}
    return {**budget, "status": changed}


def _is_ready(pod: Object) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in get(pod, "status.conditions", []))
