"""What the servers know of tracing: two wrappers for what they serve, one span for each call that they make.

OpenTelemetry itself is imported only where traces are sent; else every one of these does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from multidict import CIMultiDict
from prometheus_client.registry import Collector

from slipway.serving.rest import Handler
from slipway.serving.tracing_jaeger import TracingError
from slipway.serving.tracing_settings import TracingSettings

GrpcBehaviour = Callable[[bytes, Any], Awaitable[bytes]]
Metadata = tuple[tuple[str, str | bytes], ...]

LOG = logging.getLogger(__name__)


class Call(Protocol):
    """The span of one call of another server."""

    def headers(self, sent: CIMultiDict[str]) -> CIMultiDict[str]:
        """``sent`` with the span as the trace's context, instead of one that is in it."""

    def metadata(self, sent: Metadata) -> Metadata:
        """The same over gRPC."""

    def end_rest(self, status: int, reason: str = "") -> None:
        """``status``: of HTTP, 0 where there was no answer; ``reason``: the machine code of an error."""

    def end_grpc(self, code: Any, reason: str = "") -> None:
        """``code``: a ``grpc.StatusCode``."""


class Tracing(Protocol):
    """Spans of one process."""

    @property
    def collector(self) -> Collector | None:
        """Metrics of the spans sent and lost."""

    def served_rest(self, name: str, handler: Handler) -> Handler:
        """``handler`` with a server span around each request, child of the context that the request brings."""

    def served_grpc(self, name: str, serve: GrpcBehaviour) -> GrpcBehaviour:
        """The same over gRPC."""

    def name_request(self, puid: str) -> None:
        """Tell the span of the request under way its identifier."""

    def call(self, name: str, about: Callable[[], Mapping[str, str | int]]) -> Call:
        """A client span below that of the request under way; outside of one there is none."""

    def share(self) -> None:
        """Give spans that the component's own code makes the same way out."""

    def close(self) -> None:
        """Send what waits; returns within a bound, whatever the collector does."""


class _NoCall:
    def headers(self, sent: CIMultiDict[str]) -> CIMultiDict[str]:
        return sent

    def metadata(self, sent: Metadata) -> Metadata:
        return sent

    def end_rest(self, status: int, reason: str = "") -> None:
        pass

    def end_grpc(self, code: Any, reason: str = "") -> None:
        pass


class _Off:
    collector: Collector | None = None

    def served_rest(self, name: str, handler: Handler) -> Handler:  # noqa: ARG002  - Tracing's
        return handler

    def served_grpc(self, name: str, serve: GrpcBehaviour) -> GrpcBehaviour:  # noqa: ARG002  - Tracing's
        return serve

    def name_request(self, puid: str) -> None:
        pass

    def call(self, name: str, about: Callable[[], Mapping[str, str | int]]) -> Call:  # noqa: ARG002  - Tracing's
        return NO_CALL

    def share(self) -> None:
        pass

    def close(self) -> None:
        pass


NO_CALL: Call = _NoCall()
OFF: Tracing = _Off()
"""No span is made; the context of a client travels on among its other headers."""


def open_tracing(settings: TracingSettings | None, *, labels: Mapping[str, str] | None = None) -> Tracing:
    """Spans as ``settings`` say, OFF for None; ``labels`` are those of the metrics.

    Raises:
        TracingError: this environment has no OpenTelemetry, or a variable that only it reads makes no sense.
    """
    if settings is None:
        return OFF
    try:
        from slipway.serving.tracing_spans import SpanTracing
    except ImportError as error:
        raise TracingError(
            f"traces are switched on, and {error.name or error} is not installed: add the opentelemetry packages of "
            f"requirements/serving.in to this environment, or set OTEL_SDK_DISABLED=true"
        ) from error
    for note in settings.notes:
        LOG.warning("tracing: %s", note)
    LOG.info(
        "tracing: spans of %s are sent to %s (%s)", settings.service, settings.collector.endpoint, settings.sampler
    )
    try:
        return SpanTracing.start(settings, labels or {})
    except (ValueError, RuntimeError) as error:  # limits and credentials of the environment, which it reads itself
        raise TracingError(f"OpenTelemetry: {error}") from error
