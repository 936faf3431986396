"""Prometheus' text form of a registry, as a REST handler."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from slipway.serving.rest import Handler


def exposition(registry: CollectorRegistry) -> Handler:
    """A handler that answers with everything in ``registry``."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
