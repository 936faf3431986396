"""Values → HTTP answers of the API: an object in the form that was asked for, a text, a Status."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from slipway.onebox.api.errors import Refused
from slipway.onebox.api.presentation import Form, encode


def respond(
    body: Any, *, status: int = 200, form: Form | None = None, warnings: tuple[str, ...] = (), pretty: bool = False
) -> web.Response:
    media = form.media if form is not None else "application/json"
    response = web.Response(
        status=status,
        body=encode(body, form, pretty=pretty),
        headers={"Content-Type": media, "Cache-Control": "no-cache, private"},
    )
    for warning in warnings:
        text = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{text}"')
    return response


def text(body: str, *, status: int = 200) -> web.Response:
    headers = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache, private"}
    return web.Response(status=status, body=body.encode(), headers=headers)


def refuse(refused: Refused) -> web.Response:
    response = respond(refused.status(), status=refused.code)
    if refused.retry_after_s is not None:
        response.headers["Retry-After"] = str(refused.retry_after_s)
    return response
