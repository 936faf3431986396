"""Spans by OpenTelemetry's SDK, sent as OTLP over gRPC; names as in Seldon's executor (contract §3.16).

Attributes follow OpenTelemetry's conventions for HTTP and gRPC. A span holds no payload, no header and no text of an
error: only names of the graph, statuses, machine codes and the request's identifier.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Self

import grpc
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from opentelemetry import propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider, sampling
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client.registry import Collector

import slipway
from slipway.contract.headers import PUID, REASON
from slipway.serving.errors import failure_of
from slipway.serving.limits import MAX_PUID_CHARS
from slipway.serving.rest import Handler
from slipway.serving.tracing import NO_CALL, Call, GrpcBehaviour, Metadata
from slipway.serving.tracing_queue import SpanCounts, SpanQueue
from slipway.serving.tracing_settings import TracingSettings

MAX_ATTRIBUTE_CHARS = 1024
"""Longest text in a span, also of those that a component's own code makes."""

PUID_ATTRIBUTE = "seldon.puid"
METHOD, ROUTE, STATUS = "http.request.method", "http.route", "http.response.status_code"
RPC, RPC_STATUS = "rpc.system", "rpc.grpc.status_code"
ERROR = "error.type"
CLIENT_LEFT = "client_left"
NO_ANSWER = "no_answer"

W3C_FIELDS = frozenset({"traceparent", "tracestate"})
B3_FIELDS = frozenset({"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"})
_PROPAGATORS: Mapping[str, tuple[type[TextMapPropagator], frozenset[str]]] = {
    "tracecontext": (TraceContextTextMapPropagator, W3C_FIELDS),
    "baggage": (W3CBaggagePropagator, frozenset()),
    "b3": (B3SingleFormat, B3_FIELDS),
    "b3multi": (B3MultiFormat, B3_FIELDS),
}
"""Name → who reads and writes it, and the headers of a context that it replaces."""

_ABOUT_CONTEXTS = (
    "opentelemetry.baggage.propagation", "opentelemetry.trace.propagation.tracecontext", "opentelemetry.trace.span",
)  # fmt: skip
"""They warn of each broken context that a client sends, with what is in it: no more than its own concern."""

_CLIENT_CODES = frozenset(
    {
        grpc.StatusCode.CANCELLED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED, grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)  # fmt: skip
"""Codes that are not the server's own failure; a server's span shows them and is no error."""


class SpanTracing:
    """Spans of one process and their way out."""

    def __init__(self, provider: TracerProvider, propagators: tuple[str, ...], counts: SpanCounts) -> None:
        chosen = [_PROPAGATORS[name] for name in propagators]
        self._provider = provider
        self._tracer = provider.get_tracer("slipway", slipway.__version__)
        self._propagator = CompositePropagator([kind() for kind, _ in chosen])
        self._replaced = frozenset().union(*(fields for _, fields in chosen))
        self.collector: Collector | None = counts

    @classmethod
    def start(cls, settings: TracingSettings, labels: Mapping[str, str]) -> Self:
        for name in _ABOUT_CONTEXTS:
            logging.getLogger(name).setLevel(logging.ERROR)
        counts = SpanCounts(labels, queue_spans=settings.queue_spans)
        collector = settings.collector
        exporter = OTLPSpanExporter(
            collector.endpoint,
            headers=dict(collector.headers) or None,
            timeout=collector.timeout_s,
            compression=grpc.Compression.Gzip if collector.is_compressed else grpc.Compression.NoCompression,
        )
        provider = TracerProvider(
            sampler=_sampler(settings),
            resource=Resource.create({**settings.resource, "service.name": settings.service}),
            span_limits=SpanLimits(max_attribute_length=MAX_ATTRIBUTE_CHARS),
            shutdown_on_exit=False,  # close() has a bound
        )
        provider.add_span_processor(SpanQueue(exporter, settings, counts))
        return cls(provider, settings.propagators, counts)

    def served_rest(self, name: str, handler: Handler) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            about = {METHOD: request.method, ROUTE: _route(request), **_puid_of(request.headers.get(PUID, ""))}
            span, token = self._begin(name, request.headers, about)
            status, reason = 499, CLIENT_LEFT
            try:
                response = await handler(request)
                status, reason = response.status, response.headers.get(REASON, "")
            except web.HTTPException as error:
                status, reason = error.status, ""
                raise
            except Exception as error:
                failure = failure_of(error)
                status, reason = failure.status_code, failure.reason
                raise
            finally:
                detach(token)
                _end_rest(span, status, reason, failed=status >= 500)
            return response

        return serve

    def served_grpc(self, name: str, serve: GrpcBehaviour) -> GrpcBehaviour:
        async def traced(request: bytes, context: Any) -> bytes:
            metadata = CIMultiDict((k, v) for k, v in context.invocation_metadata() or () if isinstance(v, str))
            span, token = self._begin(name, metadata, {RPC: "grpc", **_puid_of(metadata.get(PUID, ""))})
            code, reason = grpc.StatusCode.OK, ""
            try:
                answer = serve(request, context)
                del request  # gRPC keeps the frame of an abort until the next garbage collection
                return await answer
            except asyncio.CancelledError:
                code, reason = grpc.StatusCode.CANCELLED, CLIENT_LEFT
                raise
            except Exception:
                code = _code(context.code())
                trailing = context.trailing_metadata() or ()
                reason = next((str(value) for key, value in trailing if key == REASON), "")
                raise
            finally:
                detach(token)
                _end_grpc(span, code, reason, failed=code not in _CLIENT_CODES)

        return traced

    def name_request(self, puid: str) -> None:
        trace.get_current_span().set_attribute(PUID_ATTRIBUTE, _text(puid))

    def call(self, name: str, about: Callable[[], Mapping[str, str | int]]) -> Call:
        if not trace.get_current_span().get_span_context().is_valid:
            return NO_CALL
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=about())
        return _SpanCall(span, self._propagator, self._replaced)

    def share(self) -> None:
        trace.set_tracer_provider(self._provider)
        propagate.set_global_textmap(self._propagator)

    def close(self) -> None:
        self._provider.shutdown()

    def _begin(self, name: str, carrier: Mapping[str, str], about: Mapping[str, str]) -> tuple[Span, Any]:
        """A server span below the context in ``carrier``; it is the current one until its token is given back."""
        parent = self._propagator.extract(carrier, context=Context(), getter=_HEADERS)
        span = self._tracer.start_span(name, context=parent, kind=SpanKind.SERVER, attributes=about)
        return span, attach(trace.set_span_in_context(span, parent))


class _SpanCall:
    def __init__(self, span: Span, propagator: TextMapPropagator, replaced: frozenset[str]) -> None:
        self._span = span
        self._propagator = propagator
        self._replaced = replaced

    def headers(self, sent: CIMultiDict[str]) -> CIMultiDict[str]:
        context = self._context()
        kept = CIMultiDict(
            (name, value)
            for name, value in sent.items()
            if (lower := name.lower()) not in self._replaced and lower not in context
        )
        kept.update(context)
        return kept

    def metadata(self, sent: Metadata) -> Metadata:
        context = self._context()
        kept = tuple((key, value) for key, value in sent if key not in self._replaced and key not in context)
        return (*kept, *context.items())

    def _context(self) -> dict[str, str]:
        """The span as headers, lower case."""
        written: dict[str, str] = {}
        self._propagator.inject(written, context=trace.set_span_in_context(self._span))
        return {name.lower(): value for name, value in written.items()}

    def end_rest(self, status: int, reason: str = "") -> None:
        _end_rest(self._span, status, reason, failed=status >= 400 or status == 0)

    def end_grpc(self, code: grpc.StatusCode, reason: str = "") -> None:
        _end_grpc(self._span, code, reason, failed=code is not grpc.StatusCode.OK)


class _Headers(Getter[Any]):
    """Reads headers and gRPC metadata, both of them dictionaries of several values a name."""

    def get(self, carrier: CIMultiDictProxy[str], key: str) -> list[str] | None:
        return carrier.getall(key, None)

    def keys(self, carrier: CIMultiDictProxy[str]) -> list[str]:
        return list(carrier.keys())


_HEADERS = _Headers()


def _sampler(settings: TracingSettings) -> sampling.Sampler:
    match settings.sampler:
        case "always_on":
            return sampling.ALWAYS_ON
        case "always_off":
            return sampling.ALWAYS_OFF
        case "parentbased_always_off":
            return sampling.DEFAULT_OFF
        case "traceidratio":
            return sampling.TraceIdRatioBased(settings.ratio)
        case "parentbased_traceidratio":
            return sampling.ParentBasedTraceIdRatio(settings.ratio)
    return sampling.DEFAULT_ON


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _puid_of(given: str) -> dict[str, str]:
    return {PUID_ATTRIBUTE: _text(given)} if given else {}


def _text(puid: str) -> str:
    """As UTF-8 carries it: a header may hold any bytes, and the exporter logs a traceback for each text that is none."""
    return puid[:MAX_PUID_CHARS].encode(errors="backslashreplace").decode()


def _code(given: Any) -> grpc.StatusCode:
    """The status of a call whose behaviour raised: a member, its number, or nothing where gRPC makes it UNKNOWN."""
    for code in grpc.StatusCode:
        if given is code or given == code.value[0]:
            return grpc.StatusCode.UNKNOWN if code is grpc.StatusCode.OK else code
    return grpc.StatusCode.UNKNOWN


def _end_rest(span: Span, status: int, reason: str, *, failed: bool) -> None:
    if status:
        span.set_attribute(STATUS, status)
    _end(span, (reason or str(status or NO_ANSWER)) if status >= 400 or not status else "", failed=failed)


def _end_grpc(span: Span, code: grpc.StatusCode, reason: str, *, failed: bool) -> None:
    is_ok = code is grpc.StatusCode.OK
    span.set_attribute(RPC_STATUS, code.value[0])
    _end(span, "" if is_ok else reason or code.name, failed=failed and not is_ok)


def _end(span: Span, error: str, *, failed: bool) -> None:
    if error:
        span.set_attribute(ERROR, error)
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end()
