"""Deployment → ReplicaSets: a rolling update (or Recreate) towards the current template, and the status of it.

The arithmetic is that of Kubernetes' Deployment controller: never more Pods than replicas + maxSurge, never fewer available
ones than replicas - maxUnavailable by our own doing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.kube.kinds import DEPLOYMENT, REPLICA_SET
from slipway.onebox.runner.deployment_status import Counts, render_deployment_status
from slipway.onebox.runner.moments import Moment
from slipway.onebox.runner.ownership import claim
from slipway.onebox.runner.workload_steps import (
    HASH_CHARS,
    HASH_LABEL,
    MAX_NAME_CHARS,
    Change,
    Create,
    Delete,
    Object,
    Step,
    differs,
    free_names,
    is_active,
    is_available,
    is_going,
    owned_by,
    owner_reference,
    ready_stamp,
    template_hash,
)

REVISION = "deployment.kubernetes.io/revision"
NOT_COPIED = frozenset(
    {
        REVISION,
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision-history",
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    }
)
"""Annotations of a Deployment that its ReplicaSets do not take over, as in Kubernetes; the others (``kubernetes.io/change-cause``)
are what ``kubectl rollout history`` shows of a revision."""
DEFAULT_SHARE = "25%"
DEFAULT_HISTORY = 10


@dataclass(frozen=True)
class Generation:
    """One ReplicaSet with what its Pods are doing. ``pods`` counts also those that are going."""

    obj: Object
    replicas: int
    active: int
    pods: int
    ready: int
    available: int


@dataclass(frozen=True)
class Bounds:
    replicas: int
    surge: int
    unavailable: int


def plan_deployment(
    deployment: Object, replica_sets: Sequence[Object], pods: Sequence[Object], now: Moment
) -> list[Step]:
    """``replica_sets`` and ``pods`` are all of the namespace."""
    if is_going(deployment):
        return []
    min_ready_s = float(deployment["spec"].get("minReadySeconds") or 0)
    owned, claims = claim(deployment, REPLICA_SET, replica_sets)
    mine = [_generation(item, pods, min_ready_s=min_ready_s, now=now) for item in owned if not is_going(item)]
    code = template_hash(deployment["spec"]["template"])
    new = next((item for item in mine if _labels(item.obj).get(HASH_LABEL) == code), None)
    old = [item for item in mine if item is not new]
    limits = bounds(deployment["spec"])
    steps = [*claims, *_revision(deployment, new, old), *_history(deployment, old)]
    if deployment["spec"].get("paused"):
        steps += _resize(mine, paused_sizes(mine, limits))
    else:
        steps += _roll(deployment, new, old, limits, (code, _free_name(deployment, code, replica_sets)))
    counts = _counts(deployment, new, old, limits)
    status = render_deployment_status(deployment, counts, now)
    if differs(deployment.get("status"), status):
        steps.append(Change(DEPLOYMENT, deployment, {"status": status}, "counts or conditions changed", "status"))
    return steps


def bounds(spec: Mapping[str, Any]) -> Bounds:
    """A share of surge rounds up, of unavailability down; both 0 would never move, so one may then be unavailable."""
    replicas = int(spec.get("replicas", 1))
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge", DEFAULT_SHARE), replicas, round_up=True)
    unavailable = _share(rolling.get("maxUnavailable", DEFAULT_SHARE), replicas, round_up=False)
    return Bounds(replicas, surge, 1 if surge == 0 and unavailable == 0 else min(unavailable, max(replicas, 1)))


def paused_sizes(generations: Sequence[Generation], limits: Bounds) -> dict[str, int]:
    """ReplicaSet name → wanted replicas while a roll-out is paused: it may be scaled, each ReplicaSet keeping its share."""
    active = [item for item in generations if item.replicas] or sorted(
        generations, key=lambda item: _revision_of(item.obj)
    )[-1:]
    total = sum(item.replicas for item in active)
    is_rolling = len(active) > 1
    most = limits.replicas + (limits.surge if is_rolling else 0)
    least = limits.replicas - (limits.unavailable if is_rolling else 0)
    if not active or least <= total <= most:
        return {}
    goal = most if total > most else limits.replicas
    shares = {_name(item): goal * item.replicas / total if total else goal for item in active}
    sizes = {name: int(share) for name, share in shares.items()}
    by_rest = sorted(shares, key=lambda name: (sizes[name] - shares[name], name))
    for name in by_rest[: goal - sum(sizes.values())]:
        sizes[name] += 1
    return sizes


def rolling_sizes(new: Generation, old: Sequence[Generation], limits: Bounds) -> dict[str, int]:
    """ReplicaSet name → wanted replicas, for those that change in this round."""
    sizes: dict[str, int] = {}
    total = new.replicas + sum(item.replicas for item in old)
    room = limits.replicas + limits.surge - total
    target = min(limits.replicas, new.replicas + max(0, room))
    if target != new.replicas:
        sizes[_name(new)] = target
    # Ours that are not yet available may take as long as they like: what they replace stays until they are.
    floor = limits.replicas - limits.unavailable
    pending = max(0, min(target, new.replicas) - new.available)
    spare = total - floor - pending
    for item in old:  # the broken ones first: nobody misses them
        broken = max(0, min(item.replicas - item.available, spare))
        if broken:
            sizes[_name(item)] = item.replicas - broken
            spare -= broken
    healthy = new.available + sum(item.available for item in old) - floor
    for item in old:
        left = sizes.get(_name(item), item.replicas)
        cut = max(0, min(left, healthy, spare))
        if cut:
            sizes[_name(item)] = left - cut
            healthy -= cut
            spare -= cut
    return sizes


def recreate_sizes(new: Generation | None, old: Sequence[Generation], limits: Bounds) -> dict[str, int]:
    """All old Pods are gone, not only going, before the first new one starts."""
    sizes = {_name(item): 0 for item in old if item.replicas}
    if new is not None and not sizes and not any(item.pods for item in old) and new.replicas != limits.replicas:
        sizes[_name(new)] = limits.replicas
    return sizes


def _roll(
    deployment: Object, new: Generation | None, old: Sequence[Generation], limits: Bounds, made_as: tuple[str, str]
) -> list[Step]:
    """``made_as``: the hash and the name that a new ReplicaSet has."""
    recreate = (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"
    if new is None:
        total = sum(item.replicas for item in old)
        room = 0 if recreate and (total or any(item.pods for item in old)) else limits.replicas + limits.surge - total
        size = min(limits.replicas, max(0, room))
        made = _replica_set(deployment, *made_as, replicas=size, revision=_next_revision(old))
        shrink = recreate_sizes(None, old, limits) if recreate else {}
        return [Create(made, "the template has no ReplicaSet"), *_resize(old, shrink)]
    sizes = recreate_sizes(new, old, limits) if recreate else rolling_sizes(new, old, limits)
    return _resize([new, *old], sizes)


def _resize(generations: Sequence[Generation], sizes: Mapping[str, int]) -> list[Step]:
    return [
        Change(
            REPLICA_SET, item.obj, {"spec": {"replicas": sizes[_name(item)]}}, f"{item.replicas} → {sizes[_name(item)]}"
        )
        for item in generations
        if _name(item) in sizes
    ]


def _revision(deployment: Object, new: Generation | None, old: Sequence[Generation]) -> list[Step]:
    """The current ReplicaSet has the highest revision (also after a rollback to it) and the Deployment's annotations."""
    if new is None:
        return []
    steps: list[Step] = []
    revision = _revision_of(new.obj)
    if any(_revision_of(item.obj) >= revision for item in old):
        revision = _next_revision([new, *old])
    has = new.obj["metadata"].get("annotations") or {}
    lacks = {name: text for name, text in _taken_over(deployment, revision).items() if has.get(name) != text}
    if lacks:
        steps.append(Change(REPLICA_SET, new.obj, {"metadata": {"annotations": lacks}}, f"revision {revision}"))
    if _revision_of(deployment) != revision:
        shown = {"metadata": {"annotations": {REVISION: str(revision)}}}
        steps.append(Change(DEPLOYMENT, deployment, shown, f"revision {revision}"))
    return steps


def _taken_over(deployment: Object, revision: int) -> dict[str, str]:
    """The annotations of the current ReplicaSet."""
    given = deployment["metadata"].get("annotations") or {}
    return {name: text for name, text in given.items() if name not in NOT_COPIED} | {REVISION: str(revision)}


def _history(deployment: Object, old: Sequence[Generation]) -> list[Step]:
    limit = int(deployment["spec"].get("revisionHistoryLimit", DEFAULT_HISTORY))
    empty = sorted(
        (item for item in old if not item.replicas and not item.pods), key=lambda item: _revision_of(item.obj)
    )
    return [
        Delete(REPLICA_SET, item.obj, "older than the history limit") for item in empty[: max(0, len(empty) - limit)]
    ]


def _free_name(deployment: Object, code: str, replica_sets: Sequence[Object]) -> str:
    """Another one where somebody else's ReplicaSet has the name; one that is going is waited for."""
    name = f"{deployment['metadata']['name'][: MAX_NAME_CHARS * 4 - HASH_CHARS - 1]}-{code}"
    taken = {item["metadata"]["name"] for item in replica_sets if not is_going(item)}
    return name if name not in taken else next(free_names(name, deployment["metadata"]["uid"], taken))


def _replica_set(deployment: Object, code: str, name: str, *, replicas: int, revision: int) -> dict[str, Any]:
    meta, spec = deployment["metadata"], deployment["spec"]
    template = spec["template"]
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: code}
    selector = spec.get("selector") or {}
    made: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": _taken_over(deployment, revision),
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: code}},
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
        },
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return made


def _generation(obj: Object, pods: Sequence[Object], *, min_ready_s: float, now: Moment) -> Generation:
    mine = owned_by(obj, pods)
    active = [pod for pod in mine if is_active(pod)]
    return Generation(
        obj,
        replicas=int(obj["spec"].get("replicas", 1)),
        active=len(active),
        pods=sum((pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed") for pod in mine),
        ready=sum(ready_stamp(pod) is not None for pod in active),
        available=sum(is_available(pod, min_ready_s=min_ready_s, now=now) for pod in active),
    )


def _counts(deployment: Object, new: Generation | None, old: Sequence[Generation], limits: Bounds) -> Counts:
    everything = [*([new] if new else []), *old]
    return Counts(
        desired=limits.replicas,
        minimum=limits.replicas - (0 if _is_recreate(deployment) else limits.unavailable),
        total=sum(item.active for item in everything),
        wanted=sum(item.replicas for item in everything),
        updated=new.active if new else 0,
        ready=sum(item.ready for item in everything),
        available=sum(item.available for item in everything),
        new_name=_name(new) if new else "",
    )


def _is_recreate(deployment: Object) -> bool:
    return (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"


def _share(value: object, replicas: int, *, round_up: bool) -> int:
    text = str(value)
    if not text.endswith("%"):
        return max(0, int(text))
    exact = replicas * int(text[:-1]) / 100
    return math.ceil(exact) if round_up else math.floor(exact)


def _revision_of(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _next_revision(generations: Sequence[Generation]) -> int:
    return 1 + max((_revision_of(item.obj) for item in generations), default=0)


def _labels(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _name(item: Generation) -> str:
    return str(item.obj["metadata"]["name"])
