"""What an address answers, asked from this machine."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from slipway.doctor.look import _status
from slipway.doctor.question import Probe


@pytest.mark.parametrize(
    ("plain", "signed", "name", "status"),
    [
        (404, 403, "S3", 403),  # a store of more protocols than one, as the one of one machine
        (404, 404, "S3", 404),
        (403, 500, "S3", 403),
        (404, 403, "MLflow", 404),
    ],
)
async def test_store_that_knows_s3_by_its_signature_is_asked_with_one(
    plain: int, signed: int, name: str, status: int
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=signed if "Authorization" in request.headers else plain)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as session:
            assert await _status(session, Probe(name, f"http://127.0.0.1:{port}/")) == status
    finally:
        await runner.cleanup()
