"""A component's own counters, gauges and timers, kept in this process (the contract's section 4.7)."""

from __future__ import annotations

import logging
import math
import re
import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from slipway.microservice.settings import NOT_IMPLEMENTED, Identity
from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_SERIES
from slipway.serving.pressure import IN_FLIGHT, QUEUE_SECONDS

BAD_METRIC = "MICROSERVICE_BAD_METRIC"
TYPES = ("COUNTER", "GAUGE", "TIMER")
FEEDBACK = "seldon_api_model_feedback"
REWARD = "seldon_api_model_feedback_reward"
DROPPED = "slipway_metric_series_dropped"

MAX_TOLD = 100
"""Sentences of one process about metrics that cannot be shown: each is said once."""

BUCKETS_S: tuple[float, ...] = tuple(np.logspace(-3, np.log10(30), 50).tolist())
"""Upper edges of a timer's buckets: 50 from 1 ms to 30 s, evenly spaced on a log scale."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_KINDS = {"COUNTER": "counter", "GAUGE": "gauge", "TIMER": "histogram"}
_SUFFIXES = {"COUNTER": ("_total",), "GAUGE": ("",), "TIMER": ("", "_bucket", "_count", "_sum")}
"""What the names of a kind's samples end in; a histogram's own name is its family's."""
_OWN = {IN_FLIGHT: "GAUGE", QUEUE_SECONDS: "TIMER", DROPPED: "COUNTER"}

logger = logging.getLogger(__name__)


@dataclass
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0


Labels = tuple[tuple[str, str], ...]


class CustomMetrics(Collector):
    """All series of one worker. Hooks write from their threads, the exposition reads from the event loop."""

    def __init__(self, identity: Identity, *, worker: str = "0", max_series: int = MAX_SERIES) -> None:
        self.labels = {name: _text(value) for name, value in base_labels(identity, worker).items()}
        self._max_series = max_series
        self._lock = threading.Lock()
        self._values: dict[tuple[str, str, Labels], float | _Histogram] = {}
        self._dropped = 0
        self._owners = {
            name: ("server's own", base) for base, kind in _OWN.items() for name in _sample_names(kind, base)
        }
        self._told: set[str] = set()

    def update(self, metrics: Sequence[Mapping[str, Any]], method: str) -> None:
        """Count validated metrics (see ``checked_metrics``) under the method that made them."""
        if not metrics:
            return
        with self._lock:
            for metric in metrics:
                self._update_one(metric, method)

    def _update_one(self, metric: Mapping[str, Any], method: str) -> None:
        kind, value = metric.get("type", "COUNTER"), float(metric["value"])
        base = metric["key"].removesuffix("_total") if kind == "COUNTER" else metric["key"]
        series = (kind, base, self._labels_of(kind, metric, method))
        if series not in self._values and not self._takes(kind, base):
            self._dropped += 1
            return
        if kind == "GAUGE":
            self._values[series] = value
        elif kind == "COUNTER":
            self._values[series] = float(self._values.get(series, 0.0)) + value  # type: ignore[arg-type]
        else:
            histogram = self._values.setdefault(series, _Histogram())
            assert isinstance(histogram, _Histogram)  # noqa: S101 - the kind is part of the key
            histogram.counts[bisect_left(BUCKETS_S, value / 1000)] += 1
            histogram.sum_s += value / 1000

    def _labels_of(self, kind: str, metric: Mapping[str, Any], method: str) -> Labels:
        """All labels of a series; a tag that is named as one of ours does not count."""
        ours = {"method": method, **self.labels}
        tags = {str(name): _text(value) for name, value in (metric.get("tags") or {}).items()}
        for name in tags.keys() & {*ours, *(("le",) if kind == "TIMER" else ())}:
            del tags[name]
            self._tell(f"metric {metric['key']}: its tag {name} is a label of ours, and is left out")
        return tuple(sorted({**tags, **ours}.items()))

    def _takes(self, kind: str, base: str) -> bool:
        """Whether there is room for a new series, and its samples have names that no other metric's have."""
        if len(self._values) >= self._max_series:
            return False
        names = _sample_names(kind, base)
        for name in names:
            other = self._owners.get(name, (kind, base))
            if other != (kind, base):
                self._tell(f"{kind} {base} is not shown: the {other[0]} {other[1]} has samples named {name} too")
                return False
        self._owners.update(dict.fromkeys(names, (kind, base)))
        return True

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(sentence)
            logger.warning("%s", sentence)

    def update_reward(self, reward: float) -> None:
        """What feedback adds: one more, and its reward (also a negative one)."""
        if reward:
            self.update([{"key": FEEDBACK, "value": 1}, {"key": REWARD, "value": reward}], "feedback")

    def collect(self) -> Iterable[Metric]:
        """One family per key and kind, every series of it below one HELP and TYPE line."""
        with self._lock:
            snapshot = [(key, _copy(value)) for key, value in sorted(self._values.items(), key=lambda item: item[0])]
            dropped = self._dropped
        families: dict[tuple[str, str], Metric] = {}
        for (kind, name, labels), value in snapshot:
            family = families.setdefault((kind, name), Metric(name, "", _KINDS[kind]))
            _add_samples(family, dict(labels), value)
        lost = Metric(
            DROPPED, "Updates for new series beyond the limit of one process, or under names taken.", "counter"
        )
        lost.add_sample(f"{DROPPED}_total", dict(self.labels), dropped)
        return [*families.values(), lost]


def _sample_names(kind: str, base: str) -> list[str]:
    return [f"{base}{suffix}" for suffix in _SUFFIXES[kind]]


def _text(value: Any) -> str:
    """A label's value; what has no UTF-8 form is escaped, for one such value would end every exposition."""
    return str(value).encode(errors="backslashreplace").decode()


def _copy(value: float | _Histogram) -> float | _Histogram:
    return _Histogram(list(value.counts), value.sum_s) if isinstance(value, _Histogram) else value


def _add_samples(family: Metric, labels: dict[str, str], value: float | _Histogram) -> None:
    if not isinstance(value, _Histogram):
        suffix = "_total" if family.type == "counter" else ""
        family.add_sample(f"{family.name}{suffix}", labels, value)
        return
    total = 0
    for edge, count in zip((*BUCKETS_S, math.inf), value.counts, strict=True):
        total += count
        family.add_sample(f"{family.name}_bucket", {**labels, "le": str(floatToGoString(edge))}, total)  # type: ignore[no-untyped-call]
    family.add_sample(f"{family.name}_count", labels, total)
    family.add_sample(f"{family.name}_sum", labels, value.sum_s)


def base_labels(identity: Identity, worker: str) -> dict[str, str]:
    """Labels of every series; ``NOT_IMPLEMENTED`` where the environment says nothing."""
    image, version = split_image(identity.image or f"{NOT_IMPLEMENTED}:{NOT_IMPLEMENTED}")
    return {
        "deployment_name": identity.deployment,
        "model_name": identity.unit or NOT_IMPLEMENTED,
        "model_image": image,
        "model_version": version,
        "predictor_name": identity.predictor,
        "predictor_version": identity.predictor_version,
        "seldon_deployment_name": identity.deployment,
        "image_name": image,
        "image_version": version,
        "worker_id": worker,
    }


def split_image(image: str) -> tuple[str, str]:
    """Name and tag at the last colon; the whole string is the tag where there is none (as Seldon does)."""
    name, _, tag = image.rpartition(":")
    return name, tag


def checked_metrics(metrics: Any) -> list[dict[str, Any]]:
    """The list as it is; ServingError 500 MICROSERVICE_BAD_METRIC for one that no exposition could show."""
    if not isinstance(metrics, list):
        raise _bad_metric(metrics, "not a list")
    for metric in metrics:
        if not isinstance(metric, dict) or not {"key", "type", "value"} <= metric.keys():
            raise _bad_metric(metric, "a metric has key, type and value")
        if metric["type"] not in TYPES:
            raise _bad_metric(metric, f"type is one of {', '.join(TYPES)}")
        if not isinstance(metric["key"], str) or not _NAME.fullmatch(metric["key"]):
            raise _bad_metric(metric, "key is not a metric name")
        if not _is_number(metric["value"]):
            raise _bad_metric(metric, "value is not a number")
        tags = metric.get("tags") or {}
        if not isinstance(tags, dict) or not all(_LABEL.fullmatch(str(name)) for name in tags):
            raise _bad_metric(metric, "tags are not an object with label names")
    return metrics


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, str) and math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _bad_metric(metric: Any, why: str) -> ServingError:
    text = f"Bad metric created during request: {why}: {metric!r}"
    return ServingError(text, status_code=500, reason=BAD_METRIC)
