"""A collector of OTLP over gRPC: OpenTelemetry's own service definition and protobufs, on a free port of loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.waiting import eventually, wait_until

SERVER, CLIENT = trace_pb2.Span.SPAN_KIND_SERVER, trace_pb2.Span.SPAN_KIND_CLIENT
ERROR = trace_pb2.Status.STATUS_CODE_ERROR
RECEIVE_S = 15.0


@dataclass(frozen=True)
class Received:
    """One span as it came over the wire; identifiers in hexadecimal."""

    service: str
    resource: dict[str, Any]
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    about: dict[str, Any]
    is_error: bool
    text: str
    """The whole span, for what must not be in it."""


class Collector(TraceServiceServicer):
    """Takes spans; ``released`` cleared makes it take a message and not answer."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.headers: list[dict[str, Any]] = []
        self.released = threading.Event()
        self.released.set()
        self.endpoint = ""

    def Export(self, request: otlp.ExportTraceServiceRequest, context: Any) -> otlp.ExportTraceServiceResponse:  # noqa: N802 - the service's
        self.headers.append(dict(context.invocation_metadata()))
        self.released.wait(RECEIVE_S)
        self.spans.extend(_spans(request))
        return otlp.ExportTraceServiceResponse()

    def environment(self, **more: str) -> dict[str, str]:
        """What switches tracing on and sends at once."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50", **more}

    def received(self, count: int) -> list[Received]:
        """The spans, once there are ``count`` of them."""
        wait_until(lambda: len(self.spans) >= count, timeout_s=RECEIVE_S, what=f"{count} spans")
        assert len(self.spans) == count, self._names()
        return self.spans

    async def arrived(self, count: int) -> list[Received]:
        """As ``received``, while the event loop goes on: where what sends them is in this process."""
        await eventually(lambda: len(self.spans) >= count, timeout_s=RECEIVE_S, what=f"{count} spans")
        return self.received(count)

    def one(self, name: str, **about: Any) -> Received:
        """The span of that name, and with those attributes (`_` for `.`)."""
        wanted = {key.replace("_", "."): value for key, value in about.items()}
        found = [span for span in self.spans if span.name == name and wanted.items() <= span.about.items()]
        assert len(found) == 1, (name, about, self._names())
        return found[0]

    def _names(self) -> list[tuple[str, str]]:
        return [(span.service, span.name) for span in self.spans]


@contextmanager
def collecting(credentials: grpc.ServerCredentials | None = None) -> Iterator[Collector]:
    """``credentials``: of a collector that takes TLS only; its name is ``localhost`` then."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(collector, server)
    if credentials is None:
        collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        collector.endpoint = f"https://localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        yield collector
    finally:
        collector.released.set()
        server.stop(0).wait()


def _spans(request: otlp.ExportTraceServiceRequest) -> Iterator[Received]:
    for of_resource in request.resource_spans:
        resource = _values(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Received(
                    service=resource["service.name"],
                    resource=resource,
                    name=span.name,
                    kind=span.kind,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    about=_values(span.attributes),
                    is_error=span.status.code == ERROR,
                    text=str(span),
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
