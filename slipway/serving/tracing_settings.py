"""OpenTelemetry's and Seldon's variables → whether traces are sent, where to, how many and under which names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from slipway.serving.tracing_collector import Collector, read_collector, variable, whole_number
from slipway.serving.tracing_jaeger import Jaeger, TracingError, parse_ratio, read_jaeger

QUEUE_SPANS = 2048
"""Ended spans that wait to be sent; one more is dropped and counted. OTEL_BSP_MAX_QUEUE_SIZE."""

MAX_QUEUE_SPANS = 65536

BATCH_SPANS = 512
"""Spans of one message to the collector. OTEL_BSP_MAX_EXPORT_BATCH_SIZE."""

DELAY_MS = 5000
"""A batch that is not full is sent after so long. OTEL_BSP_SCHEDULE_DELAY."""

MAX_DELAY_MS = 600_000

DEFAULT_PROPAGATORS = ("tracecontext", "baggage")
PROPAGATORS = (*DEFAULT_PROPAGATORS, "b3", "b3multi")
DEFAULT_SAMPLER = "parentbased_always_on"
RATIO_SAMPLERS = ("traceidratio", "parentbased_traceidratio")
SAMPLERS = ("always_on", "always_off", DEFAULT_SAMPLER, "parentbased_always_off", *RATIO_SAMPLERS)


@dataclass(frozen=True)
class TracingSettings:
    """How traces are sent; there is none of it where they are not."""

    service: str
    collector: Collector = field(default_factory=Collector)
    sampler: str = DEFAULT_SAMPLER
    ratio: float = 1.0
    """The part of the traces that a ratio sampler takes."""
    propagators: tuple[str, ...] = DEFAULT_PROPAGATORS
    resource: Mapping[str, str] = field(default_factory=dict)
    """What every span says of its process."""
    queue_spans: int = QUEUE_SPANS
    batch_spans: int = BATCH_SPANS
    delay_ms: int = DELAY_MS
    notes: tuple[str, ...] = ()
    """Sentences for the log: what of Seldon's variables means something else here, or nothing."""


def read_tracing(
    environment: Mapping[str, str], *, asked: bool, service: str, resource: Mapping[str, str] | None = None
) -> TracingSettings | None:
    """Settings, or None where no traces are sent.

    ``asked``: whether Seldon's own switch (``TRACING``, ``--tracing``) is on; an OTLP endpoint is one too.
    ``service``: the name where the environment has none. OpenTelemetry's variables win over Jaeger's.

    Raises:
        TracingError: a variable makes no sense, or asks for what is not offered.
    """
    endpoint = variable(environment, "ENDPOINT")
    if not _is_on(environment, asked=asked or bool(endpoint)):
        return None
    jaeger = read_jaeger(environment)
    if jaeger.is_disabled and not endpoint:
        return None
    told = _attributes(environment)
    sampler, ratio = _sampler(environment, jaeger)
    queue_spans = _number(environment, "MAX_QUEUE_SIZE", QUEUE_SPANS, most=MAX_QUEUE_SPANS)
    return TracingSettings(
        service=environment.get("OTEL_SERVICE_NAME") or told.pop("service.name", "") or jaeger.service or service,
        collector=read_collector(environment, default=jaeger.endpoint),
        sampler=sampler,
        ratio=ratio,
        propagators=_propagators(environment, jaeger),
        resource={**(resource or {}), **jaeger.tags, **told},
        queue_spans=queue_spans,
        batch_spans=min(queue_spans, _number(environment, "MAX_EXPORT_BATCH_SIZE", BATCH_SPANS, most=MAX_QUEUE_SPANS)),
        delay_ms=_number(environment, "SCHEDULE_DELAY", DELAY_MS, most=MAX_DELAY_MS),
        notes=jaeger.notes,
    )


def _is_on(environment: Mapping[str, str], *, asked: bool) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter not in ("", "none", "otlp"):
        raise TracingError(f"OTEL_TRACES_EXPORTER: {exporter!r} is not one of otlp, none")
    return exporter == "otlp" or (asked and exporter != "none")


def _attributes(environment: Mapping[str, str]) -> dict[str, str]:
    """``OTEL_RESOURCE_ATTRIBUTES``: ``key=value,key=value``, values percent-encoded."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise TracingError(f"OTEL_RESOURCE_ATTRIBUTES: {pair[:80]!r} is not key=value")
        found[key.strip()] = unquote(value.strip())
    return found


def _sampler(environment: Mapping[str, str], jaeger: Jaeger) -> tuple[str, float]:
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if not sampler:
        return jaeger.sampler or DEFAULT_SAMPLER, jaeger.ratio
    if sampler not in SAMPLERS:
        raise TracingError(f"OTEL_TRACES_SAMPLER: {sampler[:80]!r} is not one of {', '.join(SAMPLERS)}")
    ratio = environment.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    return sampler, parse_ratio("OTEL_TRACES_SAMPLER_ARG", ratio) if ratio and sampler in RATIO_SAMPLERS else 1.0


def _propagators(environment: Mapping[str, str], jaeger: Jaeger) -> tuple[str, ...]:
    names = [name.strip() for name in environment.get("OTEL_PROPAGATORS", "").split(",") if name.strip()]
    if "none" in names:
        return ()
    if unknown := [name for name in names if name not in PROPAGATORS]:
        raise TracingError(f"OTEL_PROPAGATORS: {unknown[0][:80]!r} is not one of {', '.join(PROPAGATORS)}, none")
    return tuple(names) or jaeger.propagators or DEFAULT_PROPAGATORS


def _number(environment: Mapping[str, str], end: str, default: int, *, most: int) -> int:
    name = f"OTEL_BSP_{end}"
    return whole_number(name, environment.get(name, "").strip(), default, most=most)
