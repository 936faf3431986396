"""Real HTTPS: reviews, bounds, bodies that are none, and a certificate that changes while connections are open."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from datetime import UTC, datetime

import aiohttp
import pytest

from slipway.controller.settings import Settings
from slipway.webhook import server as module
from slipway.webhook.certificates import renewed
from slipway.webhook.server import PATH, Shown, application, serve
from tests.contract.manifests import predictor, sdep
from tests.waiting import eventually
from tests.webhook.reviews import UID, review_of

NAMES = ("localhost",)


@pytest.fixture(scope="module")
def certificates():
    return renewed(None, NAMES, datetime.now(UTC))


def trusting(certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificates.authorities.decode())


@pytest.fixture
async def shown(certificates):
    made = Shown()
    assert made.show(certificates.certificate, certificates.key)
    return made


@pytest.fixture
async def address(shown):
    async with serve(application(Settings()), shown, "127.0.0.1", 0) as port:
        yield f"https://localhost:{port}"


@pytest.fixture
async def client(certificates):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting(certificates))) as session:
        yield session


async def asked(address: str, trusted) -> int:
    """Over a new connection."""
    connector = aiohttp.TCPConnector(ssl=trusting(trusted))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(address + PATH, json=review_of(sdep())) as answered,
    ):
        return answered.status


async def test_a_review_is_answered_over_tls_that_the_bundle_trusts(address, client):
    async with client.post(address + PATH, json=review_of(sdep(predictor(traffic=20)))) as answered:
        said = await answered.json()
    assert (answered.status, said["response"]["uid"], said["response"]["allowed"]) == (200, UID, False)
    async with client.post(f"{address}{PATH}?timeout=5s", json=review_of(sdep())) as answered:
        assert (await answered.json())["response"] == {"uid": UID, "allowed": True}


async def test_ready_once_it_listens(address, client):
    async with client.get(f"{address}/readyz") as answered:
        assert (answered.status, await answered.text()) == (200, "ready\n")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "no AdmissionReview"),
        (b"{", "no AdmissionReview"),
        (b"\xff\xfe", "no AdmissionReview"),
        (b"[" * 100_000, "no AdmissionReview"),
        (b"9" * 100_000, "no AdmissionReview"),
        (b"null", "kind AdmissionReview"),
        (json.dumps(review_of(sdep()) | {"request": {"uid": 1}}).encode(), "uid"),
    ],
    ids=["empty", "half", "no text", "deep", "long number", "null", "no uid"],
)
async def test_what_is_no_review_is_400_with_the_reason(address, client, body, word):
    async with client.post(address + PATH, data=body, headers={"Content-Type": "application/json"}) as answered:
        assert answered.status == 400
        assert word in await answered.text()


async def test_a_deep_object_is_answered(address, client):
    graph = {"name": "m"}
    for _ in range(400):
        graph = {"name": "m", "children": [graph]}
    body = review_of(sdep(predictor(graph=graph, componentSpecs=[])), operation="UPDATE", old=sdep())
    async with client.post(address + PATH, json=body) as answered:
        assert (await answered.json())["response"]["allowed"] is False


async def test_bounds_of_a_request(address, client):
    async with client.post(address + PATH, data=b"{}", headers={"Content-Type": "text/plain"}) as answered:
        assert answered.status == 415
    large = io.BytesIO(b"y" * (module.MAX_BODY_BYTES + 1))
    async with client.post(address + PATH, data=large, headers={"Content-Type": "application/json"}) as answered:
        assert answered.status == 413
    async with client.get(address + PATH) as answered:
        assert answered.status == 405


async def test_a_slow_body_is_given_up(address, client, monkeypatch):
    monkeypatch.setattr(module, "BODY_WITHIN_S", 0.1)
    more = asyncio.Event()

    async def slowly():
        yield b"{"
        await more.wait()

    async with client.post(address + PATH, data=slowly(), headers={"Content-Type": "application/json"}) as answered:
        assert answered.status == 408
    more.set()


async def test_one_review_too_many_is_told_to_come_again(shown, client, monkeypatch):
    monkeypatch.setattr(module, "MAX_REVIEWS", 1)
    async with serve(application(Settings()), shown, "127.0.0.1", 0) as port:
        address, more, sent = f"https://localhost:{port}{PATH}", asyncio.Event(), asyncio.Event()

        async def held():
            yield b" "
            sent.set()
            await more.wait()
            yield json.dumps(review_of(sdep())).encode()

        async def first():
            async with client.post(address, data=held(), headers={"Content-Type": "application/json"}) as answered:
                return answered.status

        held_one = asyncio.create_task(first())
        await sent.wait()

        async def is_refused():
            async with client.post(address, json=review_of(sdep())) as answered:
                return answered.status == 503

        await eventually(is_refused)
        more.set()
        assert await held_one == 200
        async with client.post(address, json=review_of(sdep())) as answered:
            assert answered.status == 200


async def test_a_connection_too_many_is_closed(shown, certificates, monkeypatch):
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 1)
    async with serve(application(Settings()), shown, "127.0.0.1", 0) as port:
        _, one = await asyncio.open_connection("localhost", port, ssl=trusting(certificates))
        reader, two = await asyncio.open_connection("localhost", port, ssl=trusting(certificates))
        assert await reader.read() == b""
        one.close()
        two.close()


async def test_a_connection_that_says_nothing_is_closed(shown, certificates, monkeypatch):
    monkeypatch.setattr(module, "FIRST_REQUEST_WITHIN_S", 0.1)
    async with serve(application(Settings()), shown, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=trusting(certificates))
        writer.write(b"POST /validate HTTP/1.1\r\nHost: x\r\n")
        assert await reader.read() == b""
        writer.close()


async def test_who_does_not_trust_the_authority_is_not_served(address):
    other = renewed(None, NAMES, datetime.now(UTC))
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await asked(address, other)


async def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on(address, client, shown, certificates):
    async with client.post(address + PATH, json=review_of(sdep())) as answered:
        assert answered.status == 200
    other = renewed(None, NAMES, datetime.now(UTC))
    assert shown.show(other.certificate, other.key)
    assert not shown.show(other.certificate, other.key)
    async with client.post(address + PATH, json=review_of(sdep())) as answered:
        assert answered.status == 200, "the connection was kept"
    assert await asked(address, other) == 200
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await asked(address, certificates)


async def test_a_pair_that_does_not_fit_leaves_what_was_shown(address, client, shown, certificates):
    other = renewed(None, NAMES, datetime.now(UTC))
    with pytest.raises(ssl.SSLError):
        shown.show(certificates.certificate, other.key)
    assert await asked(address, certificates) == 200
