"""Calls nodes over gRPC, one kept channel per address; messages stay the bytes that they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import grpc
import grpc.aio

from slipway.contract import headers
from slipway.executor.addresses import Addresses
from slipway.executor.dialect import SELDON, Dialect
from slipway.executor.errors import NodeAnswered, NodeTimeout, NodeUnreachable, UnknownNode
from slipway.executor.graph import Method, Node
from slipway.executor.limits import (
    CONNECT_TIMEOUT_S,
    MAX_ANSWER_BYTES,
    RECONNECT_MAX_S,
    RECONNECT_MIN_S,
    REQUEST_DEADLINE_S,
)
from slipway.executor.metrics import ExecutorMetrics
from slipway.executor.payload import Payload, Wire
from slipway.executor.run import Journey, apart
from slipway.executor.spans import grpc_facts
from slipway.serving.messages import PROTOBUF
from slipway.serving.tracing import OFF, Metadata, Tracing

METADATA_METHOD = "/seldon.protos.Model/Metadata"

_CHANNEL_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_TIMEOUT_S * 1000)),  # gRPC gives one attempt to connect so long
    ("grpc.initial_reconnect_backoff_ms", int(RECONNECT_MIN_S * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(RECONNECT_MAX_S * 1000)),
)


class GrpcNodes:
    """The nodes of a graph over gRPC."""

    def __init__(
        self,
        *,
        addresses: Addresses,
        metrics: ExecutorMetrics,
        timeout_s: float | None = None,
        max_message_bytes: int = 0,
        dialect: Dialect = SELDON,
        tracing: Tracing = OFF,
    ) -> None:
        """``max_message_bytes``: MAX_ANSWER_BYTES where that is more."""
        self._addresses = addresses
        self._tracing = tracing
        self._dialect = dialect
        self._metrics = metrics
        self._timeout_s = timeout_s
        limit = max(MAX_ANSWER_BYTES, max_message_bytes)
        limits = (("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", limit))
        self._options = (*_CHANNEL_OPTIONS, *limits)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._calls: dict[tuple[str, str], grpc.aio.UnaryUnaryMultiCallable] = {}
        self._ending: dict[asyncio.Task[None], grpc.aio.Channel] = {}

    def takes(self, node: Node) -> Wire:  # noqa: ARG002 - over gRPC everything is protobuf
        return Wire.PROTOBUF

    async def call(
        self,
        node: Node,
        method: Method,
        payload: Payload,
        *,
        ask: Wire,  # noqa: ARG002
        journey: Journey,
    ) -> Payload:
        question = await apart(
            lambda: self._dialect.ask_grpc(node, method, payload, model=journey.model),
            *((payload,) if self._dialect.reads_messages else ()),
        )
        metadata = (*journey.headers, *question.headers.items())
        body = await self._exchange(node, question.path, question.payload.body, metadata=metadata, journey=journey)
        return Payload(body, PROTOBUF, is_answer=True)

    async def fetch(self, node: Node, method: str, journey: Journey, *, body: bytes = b"") -> bytes:
        """The answer to a request outside of the graph, an empty one if none is given; NodeAnswered for an error."""
        with journey.timed(node):
            return await self._exchange(node, method, body, metadata=journey.headers, journey=journey)

    def keep(self, nodes: Iterable[Node]) -> None:
        """Let go of the channels that none of ``nodes`` uses any more; calls under way on them come to their end."""
        used = {self._target(node) for node in nodes if node.endpoint is not None}
        for target in self._channels.keys() - used:
            self._calls = {key: call for key, call in self._calls.items() if key[0] != target}
            channel = self._channels.pop(target)
            ending = asyncio.create_task(channel.close(grace=REQUEST_DEADLINE_S))
            self._ending[ending] = channel
            ending.add_done_callback(self._ending.pop)

    async def close(self) -> None:
        """Close every channel at once; calls under way are cancelled."""
        for channel in (*self._channels.values(), *self._ending.values()):
            await channel.close(grace=None)
        await asyncio.gather(*self._ending)

    async def _exchange(self, node: Node, path: str, body: bytes, *, metadata: Metadata, journey: Journey) -> bytes:
        """The answer; its ``x-slipway-model`` goes to the journey, a refusal's too."""
        begun = time.perf_counter()
        target, span = self._target(node), self._tracing.call(path, lambda: grpc_facts(node))
        call = self._callable(target, path)(body, metadata=span.metadata(metadata), timeout=self._timeout_s)
        code, reason = grpc.StatusCode.CANCELLED, ""
        try:
            answer: bytes = await call
            code = grpc.StatusCode.OK
            journey.models += _models(await call.trailing_metadata())
        except grpc.aio.AioRpcError as error:
            code, reason = error.code(), _reason(error)
            journey.models += _models(error.trailing_metadata())
            raise self._failure(node, error, reason) from error
        finally:
            self._metrics.node_called(node, path, "unary", go_code(code), time.perf_counter() - begun)
            span.end_grpc(code, reason)
        journey.hold_answer(len(answer))  # gRPC gives no part of a message before the whole is there
        return answer

    def _failure(self, node: Node, error: grpc.aio.AioRpcError, reason: str) -> Exception:
        details = error.details() or ""
        if error.code() is grpc.StatusCode.UNAVAILABLE and not reason:
            return NodeUnreachable(f"node {node.name}: {details}")
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not reason:
            limit = f" within {self._timeout_s:g} s" if self._timeout_s else ""
            return NodeTimeout(f"node {node.name}: no answer{limit}: {details}")
        payload = Payload(details.encode(), PROTOBUF)
        return NodeAnswered(node.name, status_code=500, payload=payload, reason=reason, code=error.code())

    def _target(self, node: Node) -> str:
        if node.endpoint is None:
            raise UnknownNode(f"node {node.name} has no endpoint: nothing to call")
        host = self._addresses.resolve(node.endpoint.host)
        return f"[{host}]:{node.endpoint.grpc_port}" if ":" in host else f"{host}:{node.endpoint.grpc_port}"

    def _callable(self, target: str, path: str) -> grpc.aio.UnaryUnaryMultiCallable:
        call = self._calls.get((target, path))
        if call is None:
            channel = self._channels.get(target)
            if channel is None:
                channel = self._channels[target] = grpc.aio.insecure_channel(target, options=self._options)
            call = self._calls[target, path] = channel.unary_unary(path)
        return call


def _models(trailing: Iterable[tuple[str, str | bytes]] | None) -> list[str]:
    return [str(value) for key, value in trailing or () if key == headers.MODEL]


def _reason(error: grpc.aio.AioRpcError) -> str:
    return next((str(value) for key, value in error.trailing_metadata() or () if key == headers.REASON), "")


def go_code(code: grpc.StatusCode) -> str:
    """``OK``, ``Unknown``, ``DeadlineExceeded``: a status as Go writes it, which is what the metrics' label holds."""
    if code is grpc.StatusCode.OK:
        return "OK"
    return "".join(word.capitalize() for word in code.name.split("_"))
