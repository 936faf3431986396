"""Connections that send nothing whole are cut; those that asked once are not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from slipway.onebox.api import listener as listening
from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.listener import Listener, ensure_certificate
from slipway.onebox.api.server import make_app
from slipway.onebox.paths import Paths


async def test_slow_headers_are_cut_and_a_quiet_client_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "FIRST_REQUEST_TIMEOUT_S", 0.5)
    certificate, key = ensure_certificate(tmp_path)
    listener = Listener(certificate=certificate, key=key)
    parts = make_parts(Paths(tmp_path), admin_token="token-of-the-administrator", admission={})
    runner = web.AppRunner(make_app(parts, heard=listener.heard))
    await runner.setup()
    assert runner.server is not None
    host, port = listener.start("127.0.0.1", 0, runner.server)
    slow_reader, slow = await asyncio.open_connection(host, port)
    good_reader, good = await asyncio.open_connection(host, port)
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    good.write(request)
    assert await good_reader.readline() == b"HTTP/1.1 200 OK\r\n"
    await good_reader.readuntil(b"\r\n\r\nok")
    slow.write(request[:-2] + b"X-Slow: ")
    async with asyncio.timeout(10):
        assert await slow_reader.read() == b""  # cut
    good.write(request)
    async with asyncio.timeout(10):
        assert await good_reader.readline() == b"HTTP/1.1 200 OK\r\n"
    for writer in (slow, good):
        writer.close()
    await listener.stop()
    await runner.cleanup()
    parts.objects.store.close()
