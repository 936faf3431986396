"""Prometheus' text form → the few series that an autoscaler asks for, each as a point in time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from slipway.onebox.runner.hpa_spec import Series

MAX_LINES = 1000
"""Lines of one metric that are read, its buckets left out: more than that is no metric to scale by."""


@dataclass(frozen=True)
class Gauge:
    """A level: its mean over time counts."""

    value: float


@dataclass(frozen=True)
class Counter:
    """A sum since a start: its growth per second counts."""

    total: float


@dataclass(frozen=True)
class Observations:
    """A histogram or summary: the mean of what was observed meanwhile counts."""

    total: float
    count: float


Point = Gauge | Counter | Observations


def parse_series(text: str, wanted: Collection[Series]) -> dict[Series, Point]:
    """Those that are there, all series of a name with the wanted labels together. Raises ValueError for another form."""
    found: dict[Series, Point] = {}
    for name in sorted({series.name for series in wanted}):
        families = _families("\n".join(_lines(text, name)) + "\n")
        for series in wanted:
            point = _point(series, families) if series.name == name else None
            if point is not None:
                found[series] = point
    return found


def _families(text: str) -> list[Metric]:
    """The parser trusts its text: whatever it trips over is the text's fault."""
    try:
        return list(text_string_to_metric_families(text))
    except (ArithmeticError, AttributeError, LookupError, TypeError) as exc:
        raise ValueError(f"{type(exc).__name__}: {exc}") from exc


def _lines(text: str, name: str) -> Iterable[str]:
    """Its samples and its type; parsing all the others would cost more than answering them."""
    family = name.removesuffix("_total")
    starts = (*(f"{name}{suffix}" for suffix in ("{", " ", "_sum", "_count")), f"# TYPE {name} ", f"# TYPE {family} ")
    lines = [line for line in text.splitlines() if line.startswith(starts)]
    if len(lines) > MAX_LINES:
        raise ValueError(f"{name} has {len(lines)} series: {MAX_LINES} are the limit")
    return lines


def _point(series: Series, families: Iterable[Metric]) -> Point | None:
    sums: dict[str, float] = {}
    kind = ""
    for family in families:
        for sample in family.samples:
            if _has(sample.labels, series.labels) and sample.name.startswith(series.name):
                kind = family.type
                sums[sample.name] = sums.get(sample.name, 0.0) + float(sample.value)
    name = series.name
    if f"{name}_count" in sums and f"{name}_sum" in sums:
        return Observations(sums[f"{name}_sum"], sums[f"{name}_count"])
    if name not in sums:
        return None
    return Counter(sums[name]) if kind == "counter" else Gauge(sums[name])


def _has(labels: Mapping[str, str], wanted: Iterable[tuple[str, str]]) -> bool:
    return all(labels.get(key) == value for key, value in wanted)
