"""Whether a change of routes may be written now, or would send requests where nothing is ready yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from slipway.controller.meta import Object

ENTRY = "seldon-app"
"""Label of the Pods behind a predictor Service; its value is the Service's name."""


def strands_requests(wanted: Mapping[str, Any], found: Mapping[str, Any], deployments: Iterable[Object]) -> bool:
    """Whether the VirtualService ``wanted`` names new predictors, none of which is ready, instead of ``found``'s ready ones.

    Percentages among predictors that have routes already are never held back: a crashing canary can be dialled to 0.
    A predictor of no replicas will never be ready: it was asked for, and is not waited for.
    """
    known = list(deployments)
    ready = {_entry(item) for item in known if (item.get("status") or {}).get("readyReplicas", 0) > 0}
    asks_for_none = {_entry(item) for item in known if item["spec"].get("replicas") == 0}
    new, old = set(_services(wanted)), set(_services(found))
    if new <= old:
        return False
    return not set(_services(wanted, weighted=True)) & (ready | asks_for_none) and bool(old & ready)


def _services(virtual_service: Mapping[str, Any], *, weighted: bool = False) -> Iterator[str]:
    """Names of the Services that its routes lead to; a lone destination gets everything whatever its weight."""
    for http in virtual_service["spec"].get("http") or ():
        route = http.get("route") or ()
        for item in route:
            if not weighted or item.get("weight", 0) > 0 or len(route) == 1:
                yield item["destination"]["host"].partition(".")[0]


def _entry(deployment: Mapping[str, Any]) -> str | None:
    labels: Mapping[str, str] = deployment["spec"]["template"]["metadata"].get("labels") or {}
    return labels.get(ENTRY)
