"""Calls nodes over REST on kept connections and remembers which of them take protobuf."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import lru_cache, partial
from http import HTTPStatus

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from slipway.contract import headers
from slipway.executor.addresses import Addresses
from slipway.executor.dialect import SELDON, Dialect
from slipway.executor.errors import AnswerTooLarge, NodeAnswered, NodeTimeout, NodeUnreachable, UnknownNode
from slipway.executor.graph import Endpoint, Method, Node
from slipway.executor.limits import CONNECT_TIMEOUT_S, MAX_ANSWER_BYTES, NODE_CONNECTIONS, NODE_KEEPALIVE_S
from slipway.executor.metrics import ExecutorMetrics
from slipway.executor.payload import Payload, Wire, inflate
from slipway.executor.run import Journey, apart
from slipway.executor.spans import rest_facts
from slipway.serving.messages import JSON, PROTOBUF
from slipway.serving.tracing import OFF, Tracing

PROTOBUF_OR_JSON = f"{PROTOBUF}, {JSON}"
LARGE_BODY_BYTES = 2**20
NOBODY_THERE = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""What a mesh or a gateway answers in a node's place: nothing is learnt from it."""
MAX_LENGTH_DIGITS = 12
GO_TIMEOUT_TEXT = "Client.Timeout exceeded while awaiting headers"
"""What clients of Seldon's executor look for in the text of a timeout (contract §3.9)."""


def open_session() -> aiohttp.ClientSession:
    """A session for all nodes: no cookies, no proxy, no header of its own, answers as they come."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=NODE_CONNECTIONS, keepalive_timeout=NODE_KEEPALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=(hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE),
    )


class RestNodes:
    """The nodes of a graph over REST."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        addresses: Addresses,
        metrics: ExecutorMetrics,
        timeout_s: float | None = None,
        dialect: Dialect = SELDON,
        tracing: Tracing = OFF,
    ) -> None:
        self._session = session
        self._tracing = tracing
        self._dialect = dialect
        self._addresses = addresses
        self._metrics = metrics
        self._timeout_s = timeout_s
        # Not aiohttp's `total`: where it comes together with a cancellation, the cancellation is lost.
        self._limit: Callable[[], AbstractAsyncContextManager[object]] = (
            nullcontext if timeout_s is None else partial(asyncio.timeout, timeout_s)
        )
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
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
            async with (
                self._limit(),
                self._session.request(
                    verb,
                    self._url(node, path),
                    headers=span.headers(sent),
                    data=in_pieces(body),
                    timeout=self._timeout,
                    allow_redirects=False,
                ) as response,
            ):
                told = printable(response.headers)
                status, reason = response.status, told.get(headers.REASON, "")
                answer = Payload(
                    await _read_answer(response, node, journey.hold_answer),
                    told.get(hdrs.CONTENT_TYPE, ""),
                    told.get(hdrs.CONTENT_ENCODING, ""),
                    json_bytes_of(told),
                    is_answer=True,
                )
        except aiohttp.ConnectionTimeoutError as error:
            status = HTTPStatus.SERVICE_UNAVAILABLE
            raise NodeUnreachable(f"node {node.name}: no connection within {CONNECT_TIMEOUT_S:g} s: {error}") from error
        except TimeoutError as error:
            status = HTTPStatus.GATEWAY_TIMEOUT
            limit = f" within {self._timeout_s:g} s" if self._timeout_s else ""
            raise NodeTimeout(f"node {node.name}: no answer{limit} ({GO_TIMEOUT_TEXT})") from error
        except (aiohttp.ClientError, OSError) as error:
            status = HTTPStatus.SERVICE_UNAVAILABLE
            raise NodeUnreachable(f"node {node.name}: {_why(error)}") from error
        finally:
            self._metrics.node_called(node, label or path, verb.lower(), str(int(status)), time.perf_counter() - begun)
            span.end_rest(status, reason)
        if status not in NOBODY_THERE:
            self._wires[node.endpoint] = _wire_of(response)
        journey.models.extend(told.getall(headers.MODEL, []))
        if status != HTTPStatus.OK:
            raise NodeAnswered(node.name, status_code=status, payload=answer, reason=reason)
        return answer

    def _url(self, node: Node, path: str) -> URL:
        if node.endpoint is None:
            raise UnknownNode(f"node {node.name} has no endpoint: nothing to call {path} on")
        return _node_url(self._addresses.resolve(node.endpoint.host), node.endpoint.http_port, path)


@lru_cache(maxsize=1024)
def _node_url(host: str, port: int, path: str) -> URL:
    return URL.build(scheme="http", host=host, port=port, path=path)


def json_bytes_of(given: Mapping[str, str]) -> int | None:
    """The length of the JSON part that the headers of a V2 body announce."""
    text = given.get(headers.JSON_BYTES, "")
    return int(text) if text.isdecimal() and len(text) <= MAX_LENGTH_DIGITS else None


def printable(given: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers that can be passed on: one with a control character in it would leave our client without an answer."""
    return CIMultiDict((name, value) for name, value in given.items() if value.replace("\t", " ").isprintable())


def _wire_of(response: aiohttp.ClientResponse) -> Wire:
    return Wire.PROTOBUF if response.headers.get(headers.WIRE) == headers.WIRE_PROTOBUF else Wire.JSON


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    return str(error) or type(error).__name__


def in_pieces(body: bytes | None) -> bytes | io.BytesIO | None:
    """A large body as a stream, which is written piece by piece: one write of it would hold up the event loop."""
    return io.BytesIO(body) if body and len(body) > LARGE_BODY_BYTES else body


async def _read_answer(response: aiohttp.ClientResponse, node: Node, hold: Callable[[int], None]) -> bytes:
    if (response.content_length or 0) > MAX_ANSWER_BYTES:
        raise _answer_too_large(node)
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise _answer_too_large(node)
        hold(len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _answer_too_large(node: Node) -> AnswerTooLarge:
    return AnswerTooLarge(f"node {node.name}: the answer is larger than {MAX_ANSWER_BYTES} bytes")
