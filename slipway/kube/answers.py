"""What an API answers, read within bounds: one JSON object, the lines of a stream, an error."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from slipway.kube.errors import SERVER_ERRORS, Unavailable, error_of

MAX_BODY_BYTES = 64 * 1024 * 1024
"""One answer: a full page of a list."""
MAX_LINE_BYTES = 8 * 1024 * 1024
"""One watch event: an object (3 MiB at most) and its envelope."""
_WARNING = re.compile(r'299 [^ "]+ "((?:[^"\\]|\\.)*)"')
Object = dict[str, Any]


def warnings_in(response: aiohttp.ClientResponse) -> list[str]:
    """The texts of its ``Warning: 299 - "…"`` headers (RFC 7234, section 5.5), as Kubernetes sends them."""
    found = [text for header in response.headers.getall("Warning", []) for text in _WARNING.findall(header)]
    return [re.sub(r"\\(.)", r"\1", text) for text in found]


async def bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise Unavailable(f"{response.url.path}: the answer is longer than {MAX_BODY_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


async def lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of a stream without the per-line limit of aiohttp's reader, but with ours."""
    rest = bytearray()
    async for chunk in response.content.iter_any():
        rest += chunk
        if b"\n" in chunk:
            *whole, tail = bytes(rest).split(b"\n")
            for line in whole:
                if line:
                    yield line
            rest = bytearray(tail)
        if len(rest) > MAX_LINE_BYTES:
            raise Unavailable(f"{response.url.path}: a watch event is longer than {MAX_LINE_BYTES} bytes")


def parse(text: bytes) -> Object:
    try:
        parsed = json.loads(text)
    except ValueError as exc:
        raise Unavailable(f"the API answered something that is not JSON: {text[:120]!r}") from exc
    if not isinstance(parsed, dict):
        raise Unavailable(f"the API answered something that is not an object: {text[:120]!r}")
    return parsed


async def error_in(response: aiohttp.ClientResponse) -> Exception:
    text = await bounded(response)
    try:
        status = json.loads(text)
    except ValueError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return error_of(_with_wish({"code": response.status, **status}, response))
    message = f"{response.method} {response.url.path}: HTTP {response.status} {text[:200].decode(errors='replace')}"
    if response.status >= SERVER_ERRORS:
        return Unavailable(message, retry_after_s=_retry_after_s(response))
    return error_of(_with_wish({"code": response.status, "message": message, "status": "Failure"}, response))


def _with_wish(status: Object, response: aiohttp.ClientResponse) -> Object:
    """With the header's wish where the body has none: flow control answers 429 in plain text."""
    wish, details = _retry_after_s(response), status.get("details") or {}
    return {**status, "details": {"retryAfterSeconds": wish, **details}} if wish else status


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """Seconds; a date, which Kubernetes never sends, counts as none."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None
