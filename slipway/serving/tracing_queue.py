"""OpenTelemetry's queue of ended spans, bounded and counted, and its end within a time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import Metric
from prometheus_client.registry import Collector

from slipway.serving.tracing_settings import TracingSettings

SPANS = "slipway_trace_spans"
WAITING = "slipway_trace_spans_waiting"
OUTCOMES = ("sent", "failed", "dropped")
"""Taken by the collector; not taken by it; not queued because the queue was full."""

FLUSH_S = 3.0
"""How long the end of a process waits for the collector to take the spans that are left."""

ABANDON_S = 0.5
"""After that: for the message under way to be given up."""


class SpanCounts(Collector):
    """What became of the spans of one process."""

    def __init__(self, labels: Mapping[str, str], *, queue_spans: int) -> None:
        self._labels = dict(labels)
        self._limit = queue_spans
        self._lock = threading.Lock()
        self.waiting = 0
        self.by_outcome = dict.fromkeys(OUTCOMES, 0)

    def admit(self) -> bool:
        """Count one more span that waits; False, and a drop, where the queue is full."""
        with self._lock:
            if self.waiting >= self._limit:
                self.by_outcome["dropped"] += 1
                return False
            self.waiting += 1
            return True

    def take(self, spans: int) -> None:
        """They wait no more: a message with them is under way."""
        with self._lock:
            self.waiting -= spans

    def end(self, spans: int, *, is_sent: bool) -> None:
        with self._lock:
            self.by_outcome["sent" if is_sent else "failed"] += spans

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            counts, waiting = dict(self.by_outcome), self.waiting
        spans = Metric(SPANS, "Spans of traces, by what became of them.", "counter")
        for outcome, count in counts.items():
            spans.add_sample(f"{SPANS}_total", {**self._labels, "outcome": outcome}, count)
        queue = Metric(WAITING, "Spans that wait to be sent.", "gauge")
        queue.add_sample(WAITING, dict(self._labels), waiting)
        return [spans, queue]


class SpanQueue(SpanProcessor):
    """The SDK's batches in front of which spans are counted, so that its queue never overflows unseen."""

    def __init__(self, exporter: SpanExporter, settings: TracingSettings, counts: SpanCounts) -> None:
        self._counts = counts
        self._exporter = exporter
        self._batches = BatchSpanProcessor(
            _Counting(exporter, counts),
            max_queue_size=settings.queue_spans,
            max_export_batch_size=settings.batch_spans,
            schedule_delay_millis=settings.delay_ms,
        )

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled and self._counts.admit():
            self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what waits, for at most FLUSH_S and ABANDON_S; what is left then is lost."""
        ending = threading.Thread(target=self._batches.shutdown, name="spans-end", daemon=True)
        ending.start()
        ending.join(FLUSH_S)
        if ending.is_alive():
            self._exporter.shutdown()  # ends the message under way
            ending.join(ABANDON_S)


class _Counting(SpanExporter):
    """An exporter whose results are counted."""

    def __init__(self, exporter: SpanExporter, counts: SpanCounts) -> None:
        self._exporter = exporter
        self._counts = counts

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._counts.take(len(spans))
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._counts.end(len(spans), is_sent=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
