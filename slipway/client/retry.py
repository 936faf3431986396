"""How often and when a call is tried again; the decision is pure, the loop is one function."""

from __future__ import annotations

import asyncio
import email.utils
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from slipway.client.errors import ClientError, DeadlineExceeded
from slipway.client.settings import MAX_RETRY_AFTER_S
from slipway.kube.reflector import backoff_s

T = TypeVar("T")
SECONDS = "[0-9]{1,9}"
Attempt = Callable[[float], Awaitable[T]]
"""Given the seconds that are left."""


def pause_s(error: ClientError, failures: int, *, attempts: int, left_s: float) -> float | None:
    """How long to wait before the next attempt, or None where the error is final.

    ``failures`` counts attempts so far. A server's own wish is never shortened; the rest doubles, with jitter.
    """
    if error.retry_after_s is None or failures >= attempts or error.retry_after_s > MAX_RETRY_AFTER_S:
        return None
    pause = max(error.retry_after_s, backoff_s(failures))
    return pause if pause < left_s else None


async def retried(attempt: Attempt[T], *, attempts: int, timeout_s: float) -> T:
    """The first answer. Raises the last error, or DeadlineExceeded when ``timeout_s`` is over."""
    deadline = time.monotonic() + timeout_s
    failures = 0
    while True:
        left_s = deadline - time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                return await attempt(left_s)
        except TimeoutError as exc:
            raise DeadlineExceeded(f"no answer within {seconds_text(timeout_s)}") from exc
        except ClientError as error:
            failures += 1
            pause = pause_s(error, failures, attempts=attempts, left_s=deadline - time.monotonic())
            if pause is None:
                raise
        await asyncio.sleep(pause)


def seconds_text(seconds: float) -> str:
    """``30 s``, ``1.5 s``; below a second ``250 ms``, ``0.4 ms``."""
    return f"{round(seconds, 1):g} s" if seconds >= 1 else f"{round(max(seconds, 0) * 1000, 1):g} ms"


def parse_retry_after(text: str | None) -> float | None:
    """Seconds, or an HTTP date (RFC 9110, 10.2.3); None where there is none or it cannot be read."""
    if not text:
        return None
    if re.fullmatch(SECONDS, text.strip()):
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        return None
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
