"""HTTP/1.1 from the gateway to a Pod, once there is one: headers and bodies pass through as they come."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from slipway.contract import headers
from slipway.contract.errors import executor_error
from slipway.onebox.activator.headers import NO_RETRY, body_bytes, is_mirrored, passed_on, patience_s
from slipway.onebox.activator.held import FINAL, NOT_AWAKE, Refused, Room
from slipway.onebox.activator.hold import Hold
from slipway.onebox.activator.limits import (
    ANSWER_TIMEOUT_S,
    CONNECT_PAUSE_S,
    CONNECT_TIMEOUT_S,
    CONNECT_TRIES,
    READ_BYTES,
)

log = logging.getLogger(__name__)


def client_session() -> aiohttp.ClientSession:
    """For requests that pass through: nothing added, unpacked, followed or kept; a bound on each wait.

    A connection each: a kept one may be closed by its server, some after two seconds, just as a request is written to it.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
        read_bufsize=READ_BYTES,
    )


class RestProxy:
    """``answer`` is the handler of a low-level aiohttp server."""

    def __init__(self, hold: Hold, session: aiohttp.ClientSession) -> None:
        self._hold = hold
        self._session = session
        self._room = Room()
        self._mirrored: set[asyncio.Task[web.StreamResponse]] = set()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if is_mirrored(request.host):
            return await self._answer_mirrored(request)
        try:
            upstream = await self._send(request, _body(request) if request.can_read_body else None)
        except Refused as refused:
            return refusal(refused)
        try:
            return await _pass_back(request, upstream)
        finally:
            upstream.close()  # a whole answer has given its connection back already

    async def _answer_mirrored(self, request: web.BaseRequest) -> web.StreamResponse:
        """Envoy gives up a mirrored request when its cluster changes, as that of a predictor which wakes: it goes on here."""
        body = bytearray()
        try:
            async for chunk in _body(request):
                self._room.take(len(chunk))
                body += chunk
        except BaseException as exc:
            self._room.give_back(len(body))
            if not isinstance(exc, Refused):
                raise
            log.warning("a mirrored request is not passed on: %s", exc)
            return refusal(exc)
        passing = asyncio.create_task(self._pass_on(request, bytes(body)))
        self._mirrored.add(passing)
        passing.add_done_callback(self._mirrored.discard)
        passing.add_done_callback(lambda _: self._room.give_back(len(body)))
        return await asyncio.shield(passing)

    async def _pass_on(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        try:
            async with await self._send(request, body or None) as upstream, asyncio.timeout(ANSWER_TIMEOUT_S):
                await upstream.read()
        except Refused as refused:
            return refusal(refused)
        except (OSError, TimeoutError, aiohttp.ClientError) as exc:
            return refusal(_unreachable(exc))
        return web.Response(status=upstream.status)  # nobody reads it

    async def aclose(self) -> None:
        """Mirrored requests that go on alone end here."""
        for passing in tuple(self._mirrored):
            passing.cancel()
        await asyncio.gather(*self._mirrored, return_exceptions=True)

    async def _send(
        self, request: web.BaseRequest, body: bytes | AsyncIterator[bytes] | None
    ) -> aiohttp.ClientResponse:
        """The head of the Pod's answer. A Pod that cannot be connected to has got nothing: another look, another try."""
        size, within_s = body_bytes(request.headers), patience_s(request.headers)
        for _ in range(CONNECT_TRIES):
            endpoint = await self._hold.endpoint(request.headers.get(headers.WAKES, ""), size=size, within_s=within_s)
            url = URL(f"http://{endpoint.address}:{endpoint.port}{request.raw_path}", encoded=True)
            try:
                async with asyncio.timeout(
                    ANSWER_TIMEOUT_S
                ):  # aiohttp's `total` may lose a cancellation that comes with it
                    return await self._session.request(
                        request.method,
                        url,
                        headers=CIMultiDict(passed_on(request.headers.items())),
                        data=body,
                        allow_redirects=False,
                    )
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
                log.info("%s:%d: %s", endpoint.address, endpoint.port, exc)
                await asyncio.sleep(CONNECT_PAUSE_S)
            except (OSError, TimeoutError, aiohttp.ClientError) as exc:
                raise _unreachable(exc) from exc
        raise Refused(NOT_AWAKE, f"the predictor's Pod was ready, but {CONNECT_TRIES} connections to it failed")


def _unreachable(error: Exception) -> Refused:
    return Refused("UPSTREAM_UNREACHABLE", f"the predictor closed the connection: {error}")


async def _body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_any():
        yield chunk


async def _pass_back(request: web.BaseRequest, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    """An answer that breaks off breaks off here too: aiohttp closes the gateway's connection."""
    fields = CIMultiDict(passed_on(upstream.headers.items()))
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=fields)
    await response.prepare(request)
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    return response


def refusal(refused: Refused) -> web.Response:
    """503 in the contract's form. The gateway may try again where a Pod was lost, as where it asks a Pod itself."""
    fields = {headers.REASON: refused.reason, "Retry-After": str(refused.retry_after_s)}
    fields |= dict([NO_RETRY]) if refused.reason in FINAL else {}
    body = json.dumps(executor_error(503, refused.info, refused.reason))
    return web.Response(status=503, text=body, content_type="application/json", headers=fields)
