"""One call over gRPC: the service ``seldon.protos.Seldon`` of gateways, executors and components alike."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc
import grpc.aio

from slipway.client.address import Address
from slipway.client.errors import (
    AnswerError,
    DeadlineExceeded,
    Failed,
    InvalidMessage,
    Refused,
    UnexpectedReply,
    Unreachable,
)
from slipway.client.forms import photo_message
from slipway.client.reply import Reply, read_reply
from slipway.client.retry import SECONDS, parse_retry_after
from slipway.client.settings import CONNECT_TIMEOUT_S, MAX_REPLY_BYTES, Settings
from slipway.contract import headers
from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.serving.errors import ServingError
from slipway.serving.messages import feedback_to_proto, to_json, to_proto

P = TypeVar("P", pb.SeldonMessage, pb.Feedback)
PREDICT = "/seldon.protos.Seldon/Predict"
SEND_FEEDBACK = "/seldon.protos.Seldon/SendFeedback"
RECONNECT_S = 0.2
"""Pause of a channel between two attempts to connect."""
PUSHBACK_MS = "grpc-retry-pushback-ms"
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    ("grpc.max_send_message_length", MAX_BODY_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", int(RECONNECT_S * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(RECONNECT_S * 1000)),
)
_CALLERS_FAULT: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNIMPLEMENTED: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
}
_SERVERS_FAULT: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class GrpcTransport:
    """One channel to one address."""

    def __init__(self, address: Address, settings: Settings) -> None:
        self._target = address.target
        self._form = settings.form
        self._metadata = (*address.metadata, *settings.sent_headers.items())
        if address.is_tls:
            credentials = grpc.ssl_channel_credentials(*settings.tls.read())
            self._channel = grpc.aio.secure_channel(address.target, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(address.target, options=_OPTIONS)

    async def photo(self, photo: bytes, *, left_s: float) -> Reply:
        return await self._call(PREDICT, photo_message(photo, self._form), left_s=left_s)

    async def message(self, message: Mapping[str, Any], *, left_s: float) -> Reply:
        return await self._call(PREDICT, _proto(to_proto, message), left_s=left_s)

    async def feedback(self, feedback: Mapping[str, Any], *, answered_by: str, left_s: float) -> Reply:
        message = _proto(feedback_to_proto, feedback)
        return await self._call(SEND_FEEDBACK, message, left_s=left_s, answered_by=answered_by)

    async def close(self) -> None:
        await self._channel.close(grace=None)

    async def _call(
        self, method: str, request: pb.SeldonMessage | pb.Feedback, *, left_s: float, answered_by: str = ""
    ) -> Reply:
        begun = time.perf_counter()
        await self._connect(min(left_s, CONNECT_TIMEOUT_S))
        remote = self._channel.unary_unary(method)
        left_s -= time.perf_counter() - begun
        metadata = self._metadata
        if answered_by:
            others = (pair for pair in metadata if pair[0] != headers.ANSWERED_BY)
            metadata = (*others, (headers.ANSWERED_BY, answered_by))
        call = remote(request.SerializeToString(), metadata=metadata, timeout=max(left_s, 0.001))
        try:
            answer: bytes = await call
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error
        said = _joined((*await call.initial_metadata(), *await call.trailing_metadata()))
        return _reply(answer, said, elapsed_ms=(time.perf_counter() - begun) * 1000)

    async def _connect(self, timeout_s: float) -> None:
        """Until there is a connection, so that a failure before it is known to have sent nothing.

        A channel that failed before stays TRANSIENT_FAILURE while it tries again, so it gets the time of one pause.
        """
        state = self._channel.get_state(try_to_connect=True)
        has_failed = state is grpc.ChannelConnectivity.TRANSIENT_FAILURE
        try:
            async with asyncio.timeout(min(timeout_s, 2 * RECONNECT_S) if has_failed else timeout_s):
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE and not has_failed:
                        raise self._unreachable()
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError as exc:
            raise self._unreachable() from exc

    def _unreachable(self) -> Unreachable:
        return Unreachable(f"{self._target}: no gRPC connection", was_sent=False)

    def _failure(self, error: grpc.aio.AioRpcError) -> Exception:
        said = _joined((*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())))
        reason, details = said.get(headers.REASON, ""), error.details() or ""
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not reason:
            return DeadlineExceeded(f"{self._target}: no answer in time: {details}")
        if error.code() is grpc.StatusCode.UNAVAILABLE and not reason and retry_after_s(said) is None:
            return Unreachable(f"{self._target}: the connection broke: {details}", was_sent=True)
        return _answer_error(error.code(), details, said)


def _proto(convert: Callable[[Any], P], message: Mapping[str, Any]) -> P:
    try:
        return convert(message)
    except ServingError as exc:
        raise InvalidMessage(str(exc)) from exc


def _answer_error(code: grpc.StatusCode, details: str, said: Mapping[str, str]) -> AnswerError:
    kind = Refused if code in _CALLERS_FAULT else Failed
    return kind(
        _CALLERS_FAULT.get(code) or _SERVERS_FAULT.get(code, 500),
        reason=said.get(headers.REASON, ""),
        info=details,
        request_id=said.get(headers.PUID, ""),
        grpc_code=code.name,
        retry_after_s=retry_after_s(said) if code is grpc.StatusCode.UNAVAILABLE else None,
    )


def retry_after_s(said: Mapping[str, str]) -> float | None:
    """The server's wish: gRPC's own (milliseconds, below 0: do not), or the header as the gateway passes it on."""
    pushback = said.get(PUSHBACK_MS, "")
    if re.fullmatch(f"-?{SECONDS}", pushback):
        return int(pushback) / 1000 if int(pushback) >= 0 else None
    return parse_retry_after(said.get("retry-after"))


def _joined(metadata: tuple[tuple[str, str | bytes], ...]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name, value in metadata:
        if isinstance(value, str):
            found.setdefault(name, []).append(value)
    return {name: ", ".join(dict.fromkeys(values)) for name, values in found.items()}


def _reply(answer: bytes, said: Mapping[str, str], *, elapsed_ms: float) -> Reply:
    try:
        message = to_json(pb.SeldonMessage.FromString(answer))
    except (ServingError, ValueError) as exc:
        raise UnexpectedReply(f"the answer is no SeldonMessage: {exc}") from exc
    status = message.get("status") or {}
    if status.get("status") == "FAILURE":
        raise Failed(
            int(status.get("code") or 500),
            reason=str(status.get("reason") or ""),
            info=str(status.get("info") or ""),
            request_id=said.get(headers.PUID, ""),
        )
    return read_reply(message, said, elapsed_ms=elapsed_ms)
