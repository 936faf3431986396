"""One check of a container: HTTP GET, TCP connect, a command, gRPC health, or a pause; each within its own time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slipway.onebox.runner.spec import Check

SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True)
class Result:
    """``message`` says what was wrong; '' where it is fine."""

    is_ok: bool
    message: str = ""


async def run_check(  # noqa: PLR0911  - one per kind of check
    check: Check,
    *,
    ip: str,
    timeout_s: float,
    session: aiohttp.ClientSession,
    execute: Callable[[tuple[str, ...], float], Awaitable[int | None]],
) -> Result:
    """Never raises for what the container does. ``execute`` runs a command in it: exit code, None for too slow."""
    host = check.host or ip
    try:
        if check.how == "http":
            return await _http(check, host, timeout_s=timeout_s, session=session)
        if check.how == "tcp":
            return await _tcp(host, check.port, timeout_s=timeout_s)
        if check.how == "grpc":
            return await _grpc(host, check, timeout_s=timeout_s)
        if check.how == "sleep":
            return await _sleep(check.sleep_s, timeout_s=timeout_s)
        code = await execute(check.command, timeout_s)
    except TimeoutError:
        return Result(False, f"{check.how} check: no answer within {timeout_s:g} s")
    except (OSError, ValueError, aiohttp.ClientError, grpc.aio.AioRpcError) as exc:
        return Result(False, f"{check.how} check: {_reason(exc)}")
    if code is None:
        return Result(False, f"command {check.command[:1]}: not done within {timeout_s:g} s")
    return Result(code == 0, "" if code == 0 else f"command {check.command[:1]}: exit code {code}")


async def _http(check: Check, host: str, *, timeout_s: float, session: aiohttp.ClientSession) -> Result:
    url = f"{check.scheme}://{host}:{check.port}{check.path}"
    timeout = aiohttp.ClientTimeout(total=None)
    headers = {"User-Agent": "kube-probe/slipway", "Connection": "close", **dict(check.headers)}
    # The certificate is not looked at, as on a kubelet; a redirect counts as an answer. The body is not read.
    async with (
        asyncio.timeout(timeout_s),  # aiohttp's `total` may lose a cancellation that comes with it
        session.get(url, timeout=timeout, headers=headers, allow_redirects=False, ssl=False) as response,
    ):
        if 200 <= response.status < 400:
            return Result(True)
        return Result(False, f"HTTP probe failed with statuscode: {response.status}")


async def _tcp(host: str, port: int, *, timeout_s: float) -> Result:
    async with asyncio.timeout(timeout_s):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()
    return Result(True)


async def _sleep(sleep_s: float, *, timeout_s: float) -> Result:
    await asyncio.sleep(min(sleep_s, timeout_s))
    is_whole = sleep_s <= timeout_s
    return Result(is_whole, "" if is_whole else f"sleep of {sleep_s:g} s: cut off after {timeout_s:g} s")


async def _grpc(host: str, check: Check, *, timeout_s: float) -> Result:
    async with grpc.aio.insecure_channel(f"{host}:{check.port}") as channel:
        request = health_pb2.HealthCheckRequest(service=check.service)
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout_s)
    is_serving = answer.status == SERVING
    return Result(is_serving, "" if is_serving else f"gRPC health status {answer.status}, not SERVING")


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
