from __future__ import annotations

from pathlib import Path

import aiohttp

from slipway.kube.health import serve_health


async def status(socket: Path) -> int:
    connector = aiohttp.UnixConnector(path=str(socket))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://it/readyz") as answer:
        return answer.status


async def test_readiness_follows_what_is_known(tmp_path: Path) -> None:
    socket, known = tmp_path / "it.sock", [False]
    socket.touch()  # what an earlier program left
    async with serve_health(socket, lambda: known[0]):
        assert await status(socket) == 503
        known[0] = True
        assert await status(socket) == 200
