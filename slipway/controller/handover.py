"""Whether a change of routes may be written now, or would send requests where nothing is ready yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from slipway.contract.names import REVISION
from slipway.controller.feedback import is_feedback
from slipway.controller.meta import Object
from slipway.controller.readiness import is_ready

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
    """Names of the Services that its routes lead to; a lone destination gets everything whatever its weight.

    ``weighted``: that predictions come to. Feedback goes to whom it is about, at 0 % too.
    """
    for http in virtual_service["spec"].get("http") or ():
        route = () if weighted and is_feedback(http) else http.get("route") or ()
        for item in route:
            if not weighted or item.get("weight", 0) > 0 or len(route) == 1:
                yield item["destination"]["host"].partition(".")[0]


def switches_too_early(
    wanted: Mapping[str, Any], found: Mapping[str, Any], desired: Sequence[Object], observed: Sequence[Object]
) -> bool:
    """Whether the Service ``wanted`` selects another revision than ``found`` before that is ready.

    Ready is all of it, or as many Pods of each part as serve now: going back from what crashes waits for no replica.
    A Service that is to select no revision any more would select every warm one: these must be gone first.
    ``desired`` and ``observed`` are Deployments.
    """
    new, old = wanted["spec"].get("selector") or {}, found["spec"].get("selector") or {}
    if new.get(REVISION) == old.get(REVISION):
        return False
    known = {item["metadata"]["name"]: item for item in observed}
    declared = {item["metadata"]["name"] for item in desired}
    if REVISION in new:
        incoming = [item for item in desired if _labels(item).get(REVISION) == new[REVISION]]
    else:
        incoming = [item for item in desired if _matches(new, item)]
        if any(
            name not in declared and _matches(new, item) and not _matches(old, item) for name, item in known.items()
        ):
            return True
    outgoing = {
        _part(item): _ready_count(item) for item in observed if _labels(item).get(REVISION) == old.get(REVISION)
    }
    return not all(
        (there := known.get(item["metadata"]["name"])) is not None
        and (is_ready(there) or _ready_count(there) >= max(1, outgoing.get(_part(item), 1)))
        for item in incoming
    )


def may_switch(wanted: Mapping[str, Any], found: Mapping[str, Any], deployments: Sequence[Object]) -> bool:
    """Whether the Service ``wanted`` can select its revision as ``deployments`` are, whatever else is to be written."""
    revision = wanted["spec"]["selector"].get(REVISION)
    running = [item for item in deployments if "deletionTimestamp" not in item["metadata"]]
    incoming = [item for item in running if revision is not None and _labels(item).get(REVISION) == revision]
    old = (found["spec"].get("selector") or {}).get(REVISION)
    outgoing = {_part(item) for item in running if _labels(item).get(REVISION) == old}
    is_whole = bool(incoming) and outgoing <= {_part(item) for item in incoming}
    return is_whole and not switches_too_early(wanted, found, incoming, running)


def _part(deployment: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Which part of its predictor it is: the same for each revision."""
    return frozenset(item for item in _labels(deployment).items() if item[0].startswith(ENTRY))


def _ready_count(deployment: Mapping[str, Any]) -> int:
    return int((deployment.get("status") or {}).get("readyReplicas", 0))


def is_idle(deployment: Mapping[str, Any], deployments: Sequence[Object], services: Iterable[Object]) -> bool:
    """Whether it belongs to a revision that no Service of its predictor selects."""
    revision = _labels(deployment).get(REVISION)
    entries = {_entry(item) for item in deployments if _labels(item).get(REVISION) == revision} - {None}
    selectors = [service["spec"].get("selector") or {} for service in services]
    return revision is not None and not any(
        selector.get(ENTRY) in entries and selector.get(REVISION, revision) == revision for selector in selectors
    )


def is_entry(obj: Mapping[str, Any]) -> bool:
    """Whether it is a Deployment whose Pods requests come to: with an executor, where there is one."""
    return obj["kind"] == "Deployment" and _entry(obj) is not None


def has_leaving_entries(pods: Iterable[Object], staying: Sequence[Object]) -> bool:
    """Whether a Pod that requests came to is on its way out, or is of none of the Deployments ``staying``."""
    selectors = [item["spec"]["selector"]["matchLabels"].items() for item in staying]
    entries = (pod["metadata"] for pod in pods if ENTRY in (pod["metadata"].get("labels") or {}))
    return any(
        "deletionTimestamp" in meta or not any(selector <= meta["labels"].items() for selector in selectors)
        for meta in entries
    )


def _matches(selector: Mapping[str, str], deployment: Mapping[str, Any]) -> bool:
    return selector.items() <= _labels(deployment).items()


def _entry(deployment: Mapping[str, Any]) -> str | None:
    return _labels(deployment).get(ENTRY)


def _labels(deployment: Mapping[str, Any]) -> Mapping[str, str]:
    """Of its Pods."""
    labels: Mapping[str, str] = deployment["spec"]["template"]["metadata"].get("labels") or {}
    return labels
