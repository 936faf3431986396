"""Which Pods an EnvoyFilter reaches, and which numbers it puts into their Envoys.

https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from slipway.doctor.checks.workloads import place_of
from slipway.doctor.facts import Object
from slipway.doctor.question import ISTIO_SYSTEM, Question
from slipway.kube.kinds import Kind

ENVOY_FILTER = Kind("networking.istio.io", "v1alpha3", "envoyfilters", "EnvoyFilter")
FILTERS = Question(ENVOY_FILTER)
ROOT = ISTIO_SYSTEM
"""``rootNamespace`` of the mesh where its configuration names no other: filters there are for Pods of all namespaces."""
PUT_IN = frozenset({"MERGE", "ADD", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST"})
"""Operations whose value gets into Envoy's configuration wherever they match; a REPLACE only where there was one."""
OF_GATEWAY = "gateway.networking.k8s.io/gateway-name"
"""The label of Pods that Istio made for a Gateway of the Kubernetes Gateway API."""
Limit = tuple[str, str, int]
"""The EnvoyFilter, the setting, its bytes."""


def reaches(envoy_filter: Object, pod: Object) -> bool:
    """Of the Pod's own namespace and of the root namespace, by labels; by reference only Pods of a Gateway beside it."""
    spec, meta = envoy_filter.get("spec") or {}, pod["metadata"]
    place, labels = envoy_filter["metadata"].get("namespace"), meta.get("labels") or {}
    if references := spec.get("targetRefs"):
        name = labels.get(OF_GATEWAY) if place == meta.get("namespace") else None
        return any(item.get("kind") == "Gateway" and item.get("name") == name for item in references)
    wanted = (spec.get("workloadSelector") or {}).get("labels") or {}
    return place in (ROOT, meta.get("namespace")) and bool(wanted.items() <= labels.items())


def limits(filters: Iterable[Object], contexts: Sequence[str], keys: Sequence[str]) -> list[Limit]:
    """The numbers of these settings that get into Envoys of these contexts (GATEWAY, SIDECAR_OUTBOUND, ANY)."""
    return [
        (place_of(obj), *limit)
        for obj in filters
        for item in (obj.get("spec") or {}).get("configPatches") or ()
        if (item.get("match") or {}).get("context", "ANY") in contexts
        and (item.get("patch") or {}).get("operation") in PUT_IN
        for limit in _numbers(item["patch"].get("value"), keys)
    ]


def _numbers(value: Any, keys: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Wherever these keys stand in what is merged into Envoy's configuration."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in keys:
                yield key, int(inner)
            else:
                yield from _numbers(inner, keys)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, keys)
