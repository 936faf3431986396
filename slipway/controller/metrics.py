"""What the controller counts, under the names that controller-runtime and client-go give the same things.

https://book.kubebuilder.io/reference/metrics-reference
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from slipway.controller.meta import MANAGER
from slipway.controller.queue import MAX_AT_ONCE, Key, WorkQueue
from slipway.kube.kinds import Kind

CONTROLLER = "seldondeployment"
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
RESULTS = ("success", "error", "requeue_after")


class Metrics:
    """One registry. No label takes a value that a client chooses, so it never grows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("controller",)
        self._total = Counter(
            "controller_runtime_reconcile", "Looks at one SeldonDeployment", (*labels, "result"), registry=self.registry
        )
        self._errors = Counter(
            "controller_runtime_reconcile_errors", "Looks that failed", labels, registry=self.registry
        )
        self._seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Duration of one look",
            labels,
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._active = Gauge("controller_runtime_active_workers", "Looks under way", labels, registry=self.registry)
        Gauge(
            "controller_runtime_max_concurrent_reconciles", "Looks at once, at most", labels, registry=self.registry
        ).labels(CONTROLLER).set(MAX_AT_ONCE)
        self._depth = Gauge(
            "workqueue_depth", "SeldonDeployments that wait for a look", ("name",), registry=self.registry
        )
        self._leader = Gauge(
            "leader_election_master_status", "1 while this process leads", ("name",), registry=self.registry
        )
        self._requests = Counter(
            "rest_client_requests", "Requests to the API server", ("method", "code"), registry=self.registry
        )
        self._restarts = Counter(
            "slipway_watch_restarts", "Lists and watches begun anew", ("resource", "reason"), registry=self.registry
        )
        for result in RESULTS:
            self._total.labels(CONTROLLER, result)
        self._errors.labels(CONTROLLER)

    def timed(self, look: Callable[[Key], Awaitable[float | None]]) -> Callable[[Key], Awaitable[float | None]]:
        """``look``, counted."""

        async def counted(key: Key) -> float | None:
            begun_at, result = time.perf_counter(), "error"
            try:
                later = await look(key)
            except Exception:
                self._errors.labels(CONTROLLER).inc()
                raise
            else:
                result = "success" if later is None else "requeue_after"
                return later
            finally:
                self._total.labels(CONTROLLER, result).inc()
                self._seconds.labels(CONTROLLER).observe(time.perf_counter() - begun_at)

        return counted

    def follow_queue(self, queue: WorkQueue) -> None:
        """Show this queue's numbers from now on."""
        self._active.labels(CONTROLLER).set_function(lambda: queue.active)
        self._depth.labels(CONTROLLER).set_function(lambda: queue.depth)

    def follow_leader(self, is_leading: Callable[[], bool]) -> None:
        self._leader.labels(MANAGER).set_function(lambda: float(is_leading()))

    def answered(self, method: str, code: str) -> None:
        """One answer of the API server."""
        self._requests.labels(method, code).inc()

    def watch_restarted(self, kind: Kind, reason: str) -> None:
        self._restarts.labels(str(kind), reason).inc()

    def render(self) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
