from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from slipway.onebox.services.probes import FilesProbe, HttpProbe, PostgresProbe, S3Probe
from slipway.onebox.supervisor.spec import NotReadyError


async def serve(status: int, socket: Path) -> web.AppRunner:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    return runner


@pytest.mark.parametrize(("status", "is_ready"), [(200, True), (503, False), (301, False)])
async def test_http_probe_wants_200(tmp_path: Path, status: int, is_ready: bool) -> None:
    runner = await serve(status, tmp_path / "admin.sock")
    probe = HttpProbe("http://envoy/ready", socket=tmp_path / "admin.sock")
    try:
        if is_ready:
            await probe.check()
        else:
            with pytest.raises(NotReadyError, match=f"answered {status}"):
                await probe.check()
    finally:
        await runner.cleanup()


async def test_probes_say_no_where_nobody_listens(tmp_path: Path, unused_tcp_port: int) -> None:
    for probe in (
        HttpProbe(f"http://127.0.0.1:{unused_tcp_port}/health"),
        HttpProbe("http://envoy/ready", socket=tmp_path / "none.sock"),
        S3Probe(f"http://127.0.0.1:{unused_tcp_port}", "user", "key", "us-east-1"),
        PostgresProbe(tmp_path, "slipway"),
        FilesProbe((tmp_path / "bootstrap.json",)),
    ):
        with pytest.raises(NotReadyError):
            await probe.check()


async def test_files_probe_is_ready_once_all_are_there(tmp_path: Path) -> None:
    files = (tmp_path / "a", tmp_path / "b")
    files[0].touch()
    with pytest.raises(NotReadyError, match=r"not written yet: \S+/b$"):
        await FilesProbe(files).check()
    files[1].touch()
    await FilesProbe(files).check()


def test_key_of_the_s3_probe_does_not_print() -> None:
    assert "top-secret" not in repr(S3Probe("http://127.0.0.1:1", "user", "top-secret", "us-east-1"))
