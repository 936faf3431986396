"""How busy a process is, for autoscalers: requests under way, and how long those waited that were then worked on."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

IN_FLIGHT = "slipway_in_flight"
QUEUE_SECONDS = "slipway_queue_seconds"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class QueueDelay:
    """A histogram of waits, in seconds. ``observe`` from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def observe(self, waited_s: float) -> None:
        with self._lock:
            self._counts[bisect_left(BUCKETS_S, waited_s)] += 1
            self._sum_s += waited_s

    def family(self, labels: Mapping[str, str]) -> Metric:
        with self._lock:
            counts, sum_s = list(self._counts), self._sum_s
        family = Metric(QUEUE_SECONDS, "How long requests waited before they were worked on, in seconds.", "histogram")
        total = 0
        for edge, count in zip((*BUCKETS_S, math.inf), counts, strict=True):
            total += count
            family.add_sample(f"{QUEUE_SECONDS}_bucket", {**labels, "le": str(floatToGoString(edge))}, total)  # type: ignore[no-untyped-call]
        family.add_sample(f"{QUEUE_SECONDS}_count", dict(labels), total)
        family.add_sample(f"{QUEUE_SECONDS}_sum", dict(labels), sum_s)
        return family


class Pressure(Collector):
    """Both metrics of one process; without ``queue`` (nothing waits there) the first alone."""

    def __init__(
        self,
        labels: Callable[[], Mapping[str, str]],
        in_flight: Callable[[], int],
        queue: QueueDelay | None = None,
    ) -> None:
        self._labels = labels
        self._in_flight = in_flight
        self._queue = queue

    def collect(self) -> Iterable[Metric]:
        labels = dict(self._labels())
        gauge = Metric(IN_FLIGHT, "Requests that were received whole and are not answered yet.", "gauge")
        gauge.add_sample(IN_FLIGHT, labels, self._in_flight())
        yield gauge
        if self._queue is not None:
            yield self._queue.family(labels)
