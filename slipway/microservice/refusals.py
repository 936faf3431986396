"""A component's refusal over REST, with the time that it took."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web

from slipway.microservice.service import Service
from slipway.serving.rest import RenderError, add_headers, error_response, logged_failure

T = TypeVar("T")


async def answered(
    work: Awaitable[T], request: web.Request, service: Service, render_error: RenderError
) -> T | web.Response:
    """What ``work`` gives, or the refusal that it raised as an answer."""
    begun = time.perf_counter()
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - whatever a component raises becomes an answer
        response = error_response(logged_failure(error, request), render_error)
        add_headers(response, service.timing_since(begun))
        return response
