"""HorizontalPodAutoscalers → their targets and Pods, found among what the API holds. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slipway.kube.kinds import DEPLOYMENT, REPLICA_SET, Kind
from slipway.kube.malformed import MALFORMED
from slipway.kube.selectors import selector_matches
from slipway.onebox.runner.hpa_spec import Autoscaler, parse_autoscaler
from slipway.onebox.runner.workload_steps import Object, is_going

SCALED = {("apps", "Deployment"): DEPLOYMENT, ("apps", "ReplicaSet"): REPLICA_SET}
Objects = Mapping[tuple[str, str], Object]


@dataclass(frozen=True)
class Target:
    """What an autoscaler acts on. ``problem``: why it does not; ``spec`` None where it cannot be read at all."""

    hpa: Object
    spec: Autoscaler | None = None
    kind: Kind | None = None
    obj: Object | None = None
    pods: Sequence[Object] = ()
    problem: str = ""
    rivals: Sequence[str] = ()

    @property
    def replicas(self) -> int:
        return int(self.obj["spec"].get("replicas", 1)) if self.obj is not None else 0

    @property
    def place(self) -> tuple[str, str, str]:
        ref = self.hpa["spec"]["scaleTargetRef"]
        return self.hpa["metadata"]["namespace"], str(ref["kind"]), str(ref["name"])


def find_targets(hpas: Collection[Object], workloads: Mapping[Kind, Objects], pods: Collection[Object]) -> list[Target]:
    """In the order of their names. Two autoscalers of one target are each other's rivals: neither acts."""
    found = [
        _found(hpa, workloads, pods)
        for hpa in sorted(hpas, key=lambda hpa: (hpa["metadata"]["namespace"], hpa["metadata"]["name"]))
        if not is_going(hpa)
    ]
    by_place: dict[tuple[str, str, str], list[str]] = {}
    for target in found:
        if target.obj is not None:
            by_place.setdefault(target.place, []).append(_name(target.hpa))
    rivals = {place: names for place, names in by_place.items() if len(names) > 1}
    return [replace(item, rivals=rivals[item.place]) if item.obj and item.place in rivals else item for item in found]


def _found(hpa: Object, workloads: Mapping[Kind, Objects], pods: Collection[Object]) -> Target:
    try:
        spec = parse_autoscaler(hpa)
        ref = hpa["spec"]["scaleTargetRef"]
        group, kind_name, name = str(ref.get("apiVersion") or "").rpartition("/")[0], str(ref["kind"]), str(ref["name"])
    except MALFORMED as exc:
        return Target(hpa, problem=f"this autoscaler cannot be read: {type(exc).__name__}: {exc}")
    kind = SCALED.get((group, kind_name))
    if kind is None:
        known = ", ".join(f"{group}/v1 {name}" for group, name in SCALED)
        return Target(hpa, spec, problem=f"{ref.get('apiVersion', '')} {kind_name} is not scaled here: {known} are")
    namespace = hpa["metadata"]["namespace"]
    obj = workloads[kind].get((namespace, name))
    if obj is None or is_going(obj):
        return Target(hpa, spec, kind, problem=f'{kind.plural}.{kind.group} "{name}" not found')
    selector = obj["spec"].get("selector") or {}
    mine = [pod for pod in pods if pod["metadata"]["namespace"] == namespace and _has(selector, pod)]
    return Target(hpa, spec, kind, obj, mine)


def _has(selector: Mapping[str, Any], pod: Object) -> bool:
    return selector_matches(selector, pod["metadata"].get("labels") or {})


def _name(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
