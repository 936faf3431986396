"""What becomes of an access log at its bound while its Envoy is too busy to be told."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.write import Publisher, prepare
from slipway.onebox.paths import Paths


async def test_envoy_that_did_not_hear_of_the_rotation_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.onebox.mesh.write.ACCESS_LOG_BYTES", 10)
    layout = Layout(Paths(tmp_path))
    prepare(layout)
    log = layout.access_log(0)
    old = log.with_name(f"{log.name}.1")
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if len(asked) == 2:
            log.touch()  # as Envoy does
        return web.Response(status=503 if len(asked) == 1 else 200)

    app = web.Application()
    app.router.add_post("/reopen_logs", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(layout.admin_socket(0))).start()
        log.write_bytes(b"eleven byte")
        for _ in range(3):
            await Publisher(layout).rotate_access_logs()
    finally:
        await runner.cleanup()
        layout.admin_socket(0).unlink(missing_ok=True)
        layout.paths.sockets.rmdir()
    assert asked == ["/reopen_logs"] * 2
    assert (log.stat().st_size, old.stat().st_size) == (0, 11)
