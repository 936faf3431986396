"""One call over REST."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import hdrs

from slipway.client.address import Address
from slipway.client.errors import (
    DeadlineExceeded,
    Failed,
    InvalidAddress,
    InvalidMessage,
    Refused,
    UnexpectedReply,
    Unreachable,
)
from slipway.client.forms import Body, photo_body
from slipway.client.reply import Reply, read_reply
from slipway.client.retry import parse_retry_after, seconds_text
from slipway.client.settings import CONNECT_TIMEOUT_S, MAX_AT_ONCE, MAX_REPLY_BYTES, Settings
from slipway.contract import headers
from slipway.serving.errors import ServingError
from slipway.serving.json_body import dump_json, parse_json
from slipway.serving.messages import JSON

EXCERPT_CHARS = 300
FAILURES = ("FAILURE", 1)
"""A message's own ``status.status``, as executors and as components write it."""


class RestTransport:
    """A connection pool to one address."""

    def __init__(self, address: Address, settings: Settings) -> None:
        self._address = address
        self._form = settings.form
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_AT_ONCE, ssl=settings.tls.context() if address.is_tls else True),
            headers=settings.sent_headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def photo(self, photo: bytes, *, left_s: float) -> Reply:
        return await self._post(self._address.predictions, photo_body(photo, self._form), left_s=left_s)

    async def message(self, message: Mapping[str, Any], *, left_s: float) -> Reply:
        return await self._post(self._address.predictions, _json_body(message), left_s=left_s)

    async def feedback(self, feedback: Mapping[str, Any], *, answered_by: str, left_s: float) -> Reply:
        if self._address.feedback is None:
            raise InvalidAddress(
                f"{self._address.origin}{self._address.predictions} leads to predictions only: "
                "feedback needs the gateway's /seldon/NAMESPACE/NAME, or the server itself"
            )
        named = {headers.ANSWERED_BY: answered_by} if answered_by else {}
        return await self._post(self._address.feedback, _json_body(feedback), left_s=left_s, named=named)

    async def close(self) -> None:
        await self._session.close()

    async def _post(self, path: str, body: Body, *, left_s: float, named: Mapping[str, str] | None = None) -> Reply:
        begun = time.perf_counter()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
        origin = self._address.origin
        try:
            async with (
                asyncio.timeout(left_s),  # aiohttp's `total` may lose a cancellation that comes with it
                self._session.post(
                    origin + path,
                    data=body.content,
                    headers={**(named or {}), hdrs.CONTENT_TYPE: body.content_type},
                    timeout=timeout,
                    allow_redirects=False,  # the token is for this server
                ) as response,
            ):
                content = await _read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            raise Unreachable(f"{origin}: no connection: {_why(exc)}", was_sent=False) from exc
        except TimeoutError as exc:
            raise DeadlineExceeded(f"{origin}{path}: no answer within {seconds_text(left_s)}") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise Unreachable(f"{origin}: the connection broke: {_why(exc)}", was_sent=True) from exc
        return read_answer(
            response.status,
            content,
            _joined(response),
            elapsed_ms=(time.perf_counter() - begun) * 1000,
        )


def read_answer(status: int, content: bytes, said: Mapping[str, str], *, elapsed_ms: float) -> Reply:
    """A reply from status, body and headers (names in lower case).

    Raises:
        Refused: 4xx.
        Failed: any other status than 200, or a message that says itself that it is a failure.
        UnexpectedReply: the body is no JSON object.
    """
    message = _json_object(content)
    if message is None and status == 200:
        raise UnexpectedReply(f"the answer is no SeldonMessage but {_excerpt(content)!r}")
    inner = (message or {}).get("status")
    inner = inner if isinstance(inner, dict) else {}
    if message is not None and status == 200 and inner.get("status") not in FAILURES:
        return read_reply(message, said, elapsed_ms=elapsed_ms)
    code = status if status != 200 else 500
    kind = Refused if 400 <= code < 500 else Failed
    raise kind(
        code,
        reason=said.get(headers.REASON) or str(inner.get("reason") or ""),
        info=str(inner.get("info") or _excerpt(content)),
        request_id=said.get(headers.PUID, ""),
        retry_after_s=parse_retry_after(said.get("retry-after")) if code == 503 else None,
    )


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        parsed = parse_json(content)
    except ServingError:  # a proxy's page: the caller reports its first words
        return None
    return parsed if isinstance(parsed, dict) else None


def _json_body(message: Mapping[str, Any]) -> Body:
    try:
        return Body(dump_json(message), JSON)
    except (TypeError, ValueError) as exc:
        raise InvalidMessage(f"the message has no JSON form: {exc}") from exc


def _joined(response: aiohttp.ClientResponse) -> dict[str, str]:
    names = {name.lower() for name in response.headers}
    return {name: ", ".join(response.headers.getall(name)) for name in names}


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks = bytearray()
    async for chunk in response.content.iter_any():
        chunks += chunk
        if len(chunks) > MAX_REPLY_BYTES:
            raise UnexpectedReply(f"{response.url}: the answer is larger than {MAX_REPLY_BYTES} bytes")
    return bytes(chunks)


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error.os_error.strerror or error.os_error)
    return str(error) or type(error).__name__


def _excerpt(content: bytes) -> str:
    return content[:EXCERPT_CHARS].decode(errors="replace")
