"""Pods and what was measured of them → what one metric of an autoscaler says about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slipway.kube.malformed import MALFORMED
from slipway.onebox.runner.hpa_metrics import PodUse, Unknown, Use, group_of
from slipway.onebox.runner.hpa_spec import Metric, Series, milli
from slipway.onebox.runner.workload_steps import Object

What = str | Series
"""``cpu``, ``memory`` or a series of a Pod's metric path."""


@dataclass(frozen=True)
class Source:
    """Where a measurement comes from; ``container`` '' is a metric path of the whole Pod."""

    uid: str
    container: str
    what: What


def uses_of(metric: Metric, pods: Sequence[Object], measured: Mapping[Source, Use], now: float) -> list[PodUse]:
    """Of all Pods of the target; ``now``: Unix seconds, as in their status. Raises Unknown where a share is wanted of what a container does not request."""
    uses = []
    for pod in pods:
        try:
            uses.append(_pod_use(metric, pod, measured, now))
        except MALFORMED as exc:
            raise Unknown(f"Pod {pod['metadata']['name']} cannot be read: {type(exc).__name__}: {exc}") from exc
    return uses


def _pod_use(metric: Metric, pod: Object, measured: Mapping[Source, Use], now: float) -> PodUse:
    use = _use(metric, pod, measured)
    group = group_of(pod, use, is_cpu=metric.resource == "cpu", now=now)
    request = requested(metric, pod) if metric.is_utilization else 0
    return PodUse(group, use.milli if use else 0, request)


def requested(metric: Metric, pod: Object) -> int:
    """Thousandths of the resource that the metric's containers request; a limit alone is a request too. Raises Unknown."""
    total = 0
    for container in _containers(metric, pod):
        resources = container.get("resources") or {}
        requests = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        if metric.resource not in requests:
            name = pod["metadata"]["name"]
            raise Unknown(f"missing request for {metric.resource} in container {container['name']} of Pod {name}")
        total += milli(requests[metric.resource])
    return total


def _use(metric: Metric, pod: Object, measured: Mapping[Source, Use]) -> Use | None:
    uid = pod["metadata"]["uid"]
    if metric.kind == "Pods":
        found = [use for source, use in measured.items() if source.uid == uid and source.what == metric.series]
        return max(found, key=lambda use: use.milli, default=None)  # a request is in several containers at a time
    uses = [measured.get(Source(uid, item["name"], metric.resource)) for item in _containers(metric, pod)]
    known = [use for use in uses if use is not None]
    if not known or len(known) < len(uses):
        return None
    return Use(sum(use.milli for use in known), max(use.age_s for use in known), max(use.window_s for use in known))


def _containers(metric: Metric, pod: Object) -> list[Object]:
    everything = list(pod["spec"]["containers"])
    if not metric.container:
        return everything
    named = [item for item in everything if item["name"] == metric.container]
    if not named:
        raise Unknown(f"container {metric.container} not present in Pod {pod['metadata']['name']}")
    return named
