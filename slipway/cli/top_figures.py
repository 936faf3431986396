"""Counters of two moments → what `slipway top` shows: rates, latencies, memory, processor. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from slipway.cli.columns import render_columns

STATS = r"^cluster\.outbound\|.*\.upstream_rq_(total|retry|5xx|active|pending_active|time)$"
"""What is read of Envoy, as a regular expression."""
NAME = re.compile(
    r"cluster\.outbound\|\d+\|(?P<subset>[^|]+)\|(?P<host>[^|]+)\.upstream_rq_"
    r"(?P<what>total|retry|5xx|active|pending_active|time)"
)
BUCKET = re.compile(r"B(?P<bound>[0-9.e+]+)\((?P<interval>\d+),\d+\)")
MIB = 1 << 20
NONE = "-"

Number = TypeVar("Number", int, float)
Place = tuple[str, str]
"""(subset, host): one predictor's clusters, REST and gRPC together."""
Buckets = dict[float, int]
"""Upper bound in milliseconds → how many requests took at most so long."""


@dataclass(frozen=True)
class Counts:
    """Of one predictor, all Envoys together. ``took``: the requests of the last seconds (Envoy's flush interval)."""

    requests: int = 0
    errors: int = 0
    in_flight: int = 0
    queued: int = 0
    took: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True)
class PodUse:
    """One Pod's processes. ``cpu_s``: seconds of processor so far; None where its processes are not on this machine."""

    namespace: str
    name: str
    predictor: str
    deployment: str
    is_ready: bool
    restarts: int
    cpu_s: float | None
    pss_bytes: int | None


@dataclass(frozen=True)
class Moment:
    """All that was read at one time. ``counts`` by place; ``predictors``: (namespace, name, predictor) → place."""

    at_s: float
    counts: Mapping[Place, Counts]
    predictors: Mapping[tuple[str, str, str], Place]
    pods: Sequence[PodUse]


@dataclass(frozen=True)
class Row:
    """One predictor. Rates per second, times in milliseconds, ``cpu`` in processors; None where it is not known."""

    namespace: str
    name: str
    predictor: str
    pods: int
    ready: int
    requests_per_s: float
    errors_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    in_flight: int
    queued: int
    cpu: float | None
    pss_bytes: int | None


@dataclass(frozen=True)
class PodRow:
    """One Pod."""

    namespace: str
    name: str
    is_ready: bool
    restarts: int
    cpu: float | None
    pss_bytes: int | None


@dataclass(frozen=True)
class Top:
    """One picture."""

    predictors: tuple[Row, ...]
    pods: tuple[PodRow, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def counts_of(text: str) -> dict[Place, Counts]:
    """From the answer of one Envoy to ``/stats?histogram_buckets=cumulative``; retries are no further requests."""
    found: dict[Place, Counts] = {}
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        match = NAME.fullmatch(name)
        if match:
            place = match["subset"], match["host"]
            found[place] = added([found.get(place, Counts()), _one(match["what"], value)])
    return found


def _one(what: str, value: str) -> Counts:
    if what == "time":
        return Counts(took=tuple((float(m["bound"]), int(m["interval"])) for m in BUCKET.finditer(value)))
    number = int(value) if value.isdigit() else 0
    return {
        "total": Counts(requests=number),
        "retry": Counts(requests=-number),
        "5xx": Counts(errors=number),
        "active": Counts(in_flight=number),
        "pending_active": Counts(queued=number),
    }[what]


def added(counts: Iterable[Counts]) -> Counts:
    """Together, as of several Envoys or protocols."""
    whole = list(counts)
    took: Buckets = {}
    for one in whole:
        for bound, count in one.took:
            took[bound] = took.get(bound, 0) + count
    return Counts(
        requests=sum(one.requests for one in whole),
        errors=sum(one.errors for one in whole),
        in_flight=sum(one.in_flight for one in whole),
        queued=sum(one.queued for one in whole),
        took=tuple(sorted(took.items())),
    )


def quantile(took: Sequence[tuple[float, int]], share: float) -> float | None:
    """Linear inside its bucket, as Prometheus' histogram_quantile does; None without requests."""
    total = took[-1][1] if took else 0
    if not total:
        return None
    below, start = 0, 0.0
    for bound, count in took:
        if count >= share * total:
            return start + (bound - start) * (share * total - below) / (count - below)
        below, start = count, bound
    return start


def top(before: Moment, now: Moment) -> Top:
    """Rates over the time between; a counter that fell was started anew and counts from nothing."""
    seconds = max(now.at_s - before.at_s, 1e-3)
    old_cpu = {(pod.namespace, pod.name): pod.cpu_s for pod in before.pods}
    cpus = {
        (pod.namespace, pod.name): _cpu(pod.cpu_s, old_cpu.get((pod.namespace, pod.name)), seconds) for pod in now.pods
    }
    rows = []
    for (namespace, name, predictor), place in sorted(now.predictors.items()):
        own = [
            pod for pod in now.pods if (pod.namespace, pod.deployment, pod.predictor) == (namespace, name, predictor)
        ]
        new, old = now.counts.get(place, Counts()), before.counts.get(place, Counts())
        rows.append(
            Row(
                namespace=namespace,
                name=name,
                predictor=predictor,
                pods=len(own),
                ready=sum(pod.is_ready for pod in own),
                requests_per_s=_grown(new.requests, old.requests) / seconds,
                errors_per_s=_grown(new.errors, old.errors) / seconds,
                p50_ms=quantile(new.took, 0.5),
                p99_ms=quantile(new.took, 0.99),
                in_flight=new.in_flight,
                queued=new.queued,
                cpu=_sum(cpus[namespace, pod.name] for pod in own),
                pss_bytes=_sum(pod.pss_bytes for pod in own),
            )
        )
    pods = tuple(
        PodRow(pod.namespace, pod.name, pod.is_ready, pod.restarts, cpus[pod.namespace, pod.name], pod.pss_bytes)
        for pod in sorted(now.pods, key=lambda pod: (pod.namespace, pod.name))
    )
    return Top(tuple(rows), pods)


def _grown(new: int, old: int) -> int:
    return new - old if new >= old else max(new, 0)


def _cpu(new: float | None, old: float | None, seconds: float) -> float | None:
    return None if new is None or old is None else max(new - old, 0.0) / seconds


def _sum(values: Iterable[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def render_top(picture: Top) -> str:
    """Two tables."""
    if not picture.predictors:
        return "no SeldonDeployment yet: `slipway apply -k seldon/overlays/canary` makes one"
    header = [
        "NAMESPACE",
        "SELDONDEPLOYMENT",
        "PREDICTOR",
        "READY",
        "REQ/S",
        "P50_MS",
        "P99_MS",
        "5XX/S",
        "IN_FLIGHT",
        "QUEUE",
        "CPU",
        "PSS_MIB",
    ]
    pods = ["NAMESPACE", "POD", "READY", "RESTARTS", "CPU", "PSS_MIB"]
    return "\n".join(
        [
            render_columns([header, *(list(_cells(row)) for row in picture.predictors)]),
            "",
            render_columns([pods, *(list(_pod_cells(row)) for row in picture.pods)]),
        ]
    )


def _cells(row: Row) -> Iterator[str]:
    yield from (row.namespace, row.name, row.predictor, f"{row.ready}/{row.pods}", f"{row.requests_per_s:.1f}")
    yield from (_number(row.p50_ms), _number(row.p99_ms), f"{row.errors_per_s:.1f}")
    yield from (str(row.in_flight), str(row.queued), *_use(row.cpu, row.pss_bytes))


def _pod_cells(row: PodRow) -> Iterator[str]:
    yield from (row.namespace, row.name, "yes" if row.is_ready else "no", str(row.restarts))
    yield from _use(row.cpu, row.pss_bytes)


def _use(cpu: float | None, pss_bytes: int | None) -> tuple[str, str]:
    return (NONE if cpu is None else f"{cpu:.2f}", NONE if pss_bytes is None else f"{pss_bytes / MIB:.0f}")


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"
