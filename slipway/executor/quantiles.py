"""A Prometheus summary with quantiles over a sliding window; prometheus_client's own Summary has none."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

QUANTILES = (0.5, 0.75, 0.9, 0.98, 0.99, 1.0)
WINDOW_S = 600.0
WINDOW_SAMPLES = 1000
"""Quantiles look back this far: whichever is less."""


@dataclass(slots=True)
class _Series:
    count: int = 0
    total: float = 0.0
    window: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=WINDOW_SAMPLES))


class QuantileSummary(Collector):
    """One summary family: ``observe`` from the event loop, ``collect`` when scraped."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._clock = clock
        self._series: dict[tuple[str, ...], _Series] = {}
        registry.register(self)

    def observe(self, values: tuple[str, ...], seconds: float) -> None:
        """One observation; ``values`` are in the order of the labels."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = _Series()
        series.count += 1
        series.total += seconds
        series.window.append((self._clock(), seconds))

    def collect(self) -> Iterator[Metric]:
        metric = Metric(self._name, self._documentation, "summary")
        oldest = self._clock() - WINDOW_S
        for values, series in list(self._series.items()):
            labels = dict(zip(self._labels, values, strict=True))
            recent = sorted(seconds for at, seconds in series.window if at >= oldest)
            for quantile in QUANTILES:
                text = {**labels, "quantile": f"{quantile:g}"}
                metric.add_sample(self._name, text, quantile_of(recent, quantile))
            metric.add_sample(f"{self._name}_count", labels, series.count)
            metric.add_sample(f"{self._name}_sum", labels, series.total)
        yield metric


def quantile_of(ordered: Sequence[float], quantile: float) -> float:
    """The nearest-rank quantile of ascending values; NaN, as Prometheus writes it, for none."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)]
