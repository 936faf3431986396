from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from aiohttp import web

from slipway.onebox.services import probes
from slipway.onebox.services.probes import HttpProbe, PostgresProbe, S3Probe
from slipway.onebox.supervisor.spec import NotReadyError, SilentError


async def serve(status: int, path: Path) -> web.AppRunner:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
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
    ):
        with pytest.raises(NotReadyError):
            await probe.check()


async def test_nobody_there_says_no_and_a_hung_process_says_nothing(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PROBE_TIMEOUT_S", 0.2)
    with pytest.raises(NotReadyError) as refused:
        await HttpProbe(f"http://127.0.0.1:{unused_tcp_port}/health").check()
    assert not isinstance(refused.value, SilentError)
    listening = socket.socket(socket.AF_UNIX)  # it takes connections and never reads, as under SIGSTOP
    with contextlib.closing(listening):
        listening.bind(str(tmp_path / "hung.sock"))
        listening.listen()
        with pytest.raises(SilentError, match=r"^GET http://envoy/ready: no answer within"):
            await HttpProbe("http://envoy/ready", socket=tmp_path / "hung.sock").check()


def test_key_of_the_s3_probe_does_not_print() -> None:
    assert "top-secret" not in repr(S3Probe("http://127.0.0.1:1", "user", "top-secret", "us-east-1"))
