"""The process: flags, files of cert-manager, and what it does while a certificate is missing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import aiohttp
import pytest

from slipway.controller.settings import Settings
from slipway.kube.errors import Conflict, Unavailable
from slipway.webhook import __main__ as module
from slipway.webhook.__main__ import Host, from_files, keep
from slipway.webhook.certificates import renewed
from slipway.webhook.options import make_parser, options_of
from slipway.webhook.server import PATH
from tests.contract.manifests import sdep
from tests.waiting import eventually
from tests.webhook.reviews import review_of
from tests.webhook.test_server import trusting


def fresh():
    return renewed(None, ("localhost",), datetime.now(UTC))


def write(folder, certificates) -> None:
    (folder / "tls.crt").write_bytes(certificates.certificate)
    (folder / "tls.key").write_bytes(certificates.key)


async def status(port: int, trusted) -> int:
    connector = aiohttp.TCPConnector(ssl=trusting(trusted))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(f"https://localhost:{port}{PATH}", json=review_of(sdep())) as answered,
    ):
        return answered.status


async def is_served(host: Host, trusted) -> bool:
    try:
        return host.port != 0 and await status(host.port, trusted) == 200
    except aiohttp.ClientConnectorError:
        return False


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.02)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.02)


async def test_files_are_read_again_and_it_listens_when_there_are_some(tmp_path, quick):
    host, stop, first, second = Host("127.0.0.1", 0), asyncio.Event(), fresh(), fresh()
    running = asyncio.create_task(keep(host, Settings(), from_files(tmp_path), stop))
    write(tmp_path, first)
    await eventually(lambda: is_served(host, first))
    write(tmp_path, second)
    await eventually(lambda: is_served(host, second))
    stop.set()
    await running
    with pytest.raises(aiohttp.ClientConnectorError):
        await status(host.port, second)


async def test_an_api_that_is_away_or_another_replica_that_was_faster_are_tried_again(quick, caplog):
    host, stop, certificates = Host("127.0.0.1", 0), asyncio.Event(), fresh()
    answers = [Unavailable("refused"), Conflict({"code": 409, "message": "modified"})]

    async def look():
        if answers:
            raise answers.pop(0)
        return certificates.certificate, certificates.key

    running = asyncio.create_task(keep(host, Settings(), look, stop))
    await eventually(lambda: is_served(host, certificates))
    assert "no certificate: refused" in caplog.text
    stop.set()
    await running


async def test_reviews_are_answered_while_it_drains(tmp_path, quick):
    host, stop, certificates = Host("127.0.0.1", 0, drain_s=30), asyncio.Event(), fresh()
    write(tmp_path, certificates)
    running = asyncio.create_task(keep(host, Settings(), from_files(tmp_path), stop))
    await eventually(lambda: is_served(host, certificates))
    stop.set()
    for _ in range(3):
        assert await status(host.port, certificates) == 200
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_it_ends_also_while_it_waits_for_a_certificate(tmp_path, quick):
    stop = asyncio.Event()
    running = asyncio.create_task(keep(Host("127.0.0.1", 0), Settings(), from_files(tmp_path), stop))
    stop.set()
    await running


async def test_an_error_of_the_program_ends_it(quick):
    async def look():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await keep(Host("127.0.0.1", 0), Settings(), look, asyncio.Event())


def options(*words: str):
    parser = make_parser()
    return options_of(parser, parser.parse_args(words))


def test_names_are_those_of_the_service():
    found = options("--service", "ns/hook", "--controller-id", "slipway", "--keda")
    assert found.names == ("hook.ns.svc", "hook.ns.svc.cluster.local")
    assert (found.settings.controller_id, found.settings.has_keda) == ("slipway", True)
    assert options().secret == ("slipway-system", "slipway-webhook-certificate")


@pytest.mark.parametrize(
    "words", [("--service", "hook"), ("--secret", "a/"), ("--controller-id", "a b"), ("--port", "x"), ("--drain", "61")]
)
def test_flags_that_make_no_sense_are_usage_errors(words, capsys):
    with pytest.raises(SystemExit) as ended:
        options(*words)
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_help_has_examples():
    said = subprocess.run(
        [sys.executable, "-m", "slipway.webhook", "--help"], capture_output=True, text=True, check=True
    )
    assert "examples:" in said.stdout
