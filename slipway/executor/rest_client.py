"""Calls nodes over REST on kept connections and remembers which of them take protobuf."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from http import HTTPStatus

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict, CIMultiDictProxy

from slipway.contract import headers
from slipway.executor.addresses import Addresses
from slipway.executor.dialect import SELDON, Dialect
from slipway.executor.errors import AnswerTooLarge, NodeAnswered, NodeTimeout, NodeUnreachable, UnknownNode
from slipway.executor.graph import Endpoint, Method, Node
from slipway.executor.limits import CONNECT_TIMEOUT_S, MAX_ANSWER_BYTES, NODE_KEEPALIVE_S
from slipway.executor.metrics import ExecutorMetrics
from slipway.executor.payload import Payload, Wire, inflate
from slipway.executor.run import Journey, apart
from slipway.executor.spans import rest_facts
from slipway.serving.errors import ServingError
from slipway.serving.http_client import AnswerTooLong, HttpClient, Target, target_of
from slipway.serving.messages import JSON, PROTOBUF
from slipway.serving.tracing import OFF, Tracing

PROTOBUF_OR_JSON = f"{PROTOBUF}, {JSON}"
NOBODY_THERE = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""What a mesh or a gateway answers in a node's place: nothing is learnt from it."""
MAX_LENGTH_DIGITS = 12
GO_TIMEOUT_TEXT = "Client.Timeout exceeded while awaiting headers"
"""What clients of Seldon's executor look for in the text of a timeout (contract §3.9)."""


class RestNodes:
    """The nodes of a graph over REST."""

    def __init__(
        self,
        *,
        addresses: Addresses,
        metrics: ExecutorMetrics,
        timeout_s: float | None = None,
        dialect: Dialect = SELDON,
        tracing: Tracing = OFF,
    ) -> None:
        self._client = HttpClient(connect_timeout_s=CONNECT_TIMEOUT_S, keep_s=NODE_KEEPALIVE_S)
        self._tracing = tracing
        self._dialect = dialect
        self._addresses = addresses
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._limit: Callable[[], AbstractAsyncContextManager[object]] = (
            nullcontext if timeout_s is None else partial(asyncio.timeout, timeout_s)
        )
        self._wires: dict[Endpoint | None, Wire] = {}

    def takes(self, node: Node) -> Wire:
        return self._wires.get(node.endpoint, Wire.JSON) if self._dialect.learn_path else Wire.JSON

    def knows(self, node: Node) -> bool:
        """Whether the node has answered anything yet, and so said which wires it takes."""
        return node.endpoint in self._wires

    async def call(self, node: Node, method: Method, payload: Payload, *, ask: Wire, journey: Journey) -> Payload:
        answer, is_read = payload, payload.encoding or self._dialect.reads_messages
        question = await apart(
            lambda: self._dialect.ask_rest(node, method, inflate(answer), model=journey.model),
            *((answer,) if is_read else ()),
        )
        payload = question.payload
        sent: CIMultiDict[str] = journey.headers.copy()
        sent.update(question.headers)
        sent[hdrs.CONTENT_TYPE] = payload.content_type
        if payload.json_bytes is not None:
            sent[headers.JSON_BYTES] = str(payload.json_bytes)
        if self.takes(node) is Wire.PROTOBUF:
            sent[hdrs.ACCEPT] = PROTOBUF_OR_JSON if ask is Wire.PROTOBUF else JSON
        return await self._exchange(
            node,
            hdrs.METH_POST,
            question.path,
            sent=sent,
            body=payload.body,
            label=question.label,
            journey=journey,
        )

    async def fetch(self, node: Node, path: str, *, journey: Journey | None = None, label: str = "") -> Payload:
        """GET ``path`` of the node; NodeAnswered when that is not 200. ``label``: the metrics' name of the path."""
        journey = journey or Journey("", CIMultiDict())
        with journey.timed(node):
            return await self._exchange(node, hdrs.METH_GET, path, sent=journey.headers, label=label, journey=journey)

    async def _exchange(
        self,
        node: Node,
        verb: str,
        path: str,
        *,
        sent: CIMultiDict[str],
        body: bytes | None = None,
        label: str,
        journey: Journey,
    ) -> Payload:
        """The answer; RequestError for anything but HTTP 200. Its ``x-slipway-model`` goes to the journey either way."""
        begun = time.perf_counter()
        status, reason = 0, ""
        span = self._tracing.call(label or path, lambda: rest_facts(node, verb))
        try:
            async with self._limit():
                found = await self._client.ask(
                    verb,
                    self._target(node, path),
                    headers=span.headers(sent),
                    body=body,
                    max_bytes=MAX_ANSWER_BYTES,
                    hold=journey.hold_answer,
                )
            told = printable(found.headers)
            status, reason = found.status, told.get(headers.REASON, "")
            answer = Payload(
                found.body,
                told.get(hdrs.CONTENT_TYPE, ""),
                told.get(hdrs.CONTENT_ENCODING, ""),
                json_bytes_of(told),
                is_answer=True,
            )
        except AnswerTooLong as error:
            status = HTTPStatus.BAD_GATEWAY
            raise AnswerTooLarge(f"node {node.name}: {error}") from error
        except ServingError as error:  # of ``hold_answer``
            status = error.status_code
            raise
        except TimeoutError as error:
            status = HTTPStatus.GATEWAY_TIMEOUT
            limit = f" within {self._timeout_s:g} s" if self._timeout_s else ""
            raise NodeTimeout(f"node {node.name}: no answer{limit} ({GO_TIMEOUT_TEXT})") from error
        except aiohttp.ClientError as error:
            status = HTTPStatus.SERVICE_UNAVAILABLE
            raise NodeUnreachable(f"node {node.name}: {str(error) or type(error).__name__}") from error
        finally:
            self._metrics.node_called(node, label or path, verb.lower(), str(int(status)), time.perf_counter() - begun)
            span.end_rest(status, reason)
        if status not in NOBODY_THERE:
            self._wires[node.endpoint] = _wire_of(told)
        journey.models.extend(told.getall(headers.MODEL, []))
        if status != HTTPStatus.OK:
            raise NodeAnswered(node.name, status_code=status, payload=answer, reason=reason)
        return answer

    def close(self) -> None:
        """End the kept connections."""
        self._client.close()

    def _target(self, node: Node, path: str) -> Target:
        if node.endpoint is None:
            raise UnknownNode(f"node {node.name} has no endpoint: nothing to call {path} on")
        return target_of(self._addresses.resolve(node.endpoint.host), node.endpoint.http_port, path)


def json_bytes_of(given: Mapping[str, str]) -> int | None:
    """The length of the JSON part that the headers of a V2 body announce."""
    text = given.get(headers.JSON_BYTES, "")
    return int(text) if text.isdecimal() and len(text) <= MAX_LENGTH_DIGITS else None


def printable(given: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers that can be passed on: one with a control character in it would leave our client without an answer."""
    return CIMultiDict((name, value) for name, value in given.items() if value.replace("\t", " ").isprintable())


def _wire_of(told: Mapping[str, str]) -> Wire:
    return Wire.PROTOBUF if told.get(headers.WIRE) == headers.WIRE_PROTOBUF else Wire.JSON
