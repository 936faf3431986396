"""Keys of issuers that the gateway fetches itself (jwksUri), by real Envoys from servers on loopback."""

from __future__ import annotations

import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.mesh import limits
from slipway.onebox.mesh.authentication import NO_KEYS, read_authentications
from slipway.onebox.mesh.key_sources import NotFetched, key_source, render_key_cluster
from slipway.onebox.mesh.services import index_services
from tests.onebox_mesh.certificates import pair_of
from tests.onebox_mesh.test_security import ISSUER, ask, guarded
from tests.onebox_mesh.tokens import Issuer
from tests.onebox_mesh.world import authentication, service
from tests.ports import free_port
from tests.waiting import eventually

GOOD, REFUSED = (200, None), (401, "UNAUTHENTICATED")


@dataclass
class Keys:
    """What a server of keys says, and how often it was asked."""

    text: str
    asked: int = 0

    async def answer(self, _):
        self.asked += 1
        return web.Response(text=self.text, content_type="application/json")


@asynccontextmanager
async def serving(keys, port, context=None):
    application = web.Application()
    application.router.add_get("/keys", keys.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        yield
    finally:
        await runner.cleanup()


@pytest.mark.e2e
async def test_keys_are_fetched_kept_and_renewed_and_nobody_else_waits_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "KEYS_CACHE_S", 2.0)
    issuer, successor, port = Issuer(ISSUER), Issuer(ISSUER), free_port()
    keys = Keys(issuer.jwks)
    rules = [{"issuer": ISSUER, "jwksUri": f"http://127.0.0.1:{port}/keys", "timeout": "1s"}]
    async with guarded(tmp_path, rules=rules) as (client, _, _):
        token = issuer.token()
        assert [await ask(client), await ask(client, token)] == [GOOD, REFUSED]
        async with client.post("/", data=b"{}", headers={"authorization": f"Bearer {token}"}) as reply:
            assert (await reply.json())["status"]["info"] == "the token is not accepted: Jwks remote fetch is failed"
        async with serving(keys, port):

            async def is_good(token):
                return [await ask(client, token) for _ in range(4)] == [GOOD] * 4

            await eventually(lambda: is_good(token), what="the keys")
            before = keys.asked
            assert [await ask(client, each) for each in (token, successor.token()) * 10] == [GOOD, REFUSED] * 10
            assert keys.asked - before < 10, "they are fetched in the background, not for each token"
            keys.text = successor.jwks
            await eventually(lambda: is_good(successor.token()), what="the new keys")


@pytest.mark.e2e
async def test_keys_over_https_come_from_whom_the_machine_trusts_only(tmp_path, monkeypatch):
    known, unknown = (Issuer(f"https://{name}.example") for name in ("known", "unknown"))
    trusted, ports = pair_of("authority"), (free_port(), free_port())
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.write(tmp_path, "trusted")[0]))
    rules = [
        {"issuer": issuer.name, "jwksUri": f"https://localhost:{port}/keys"}
        for issuer, port in zip((known, unknown), ports, strict=True)
    ]
    contexts = []
    for name, by in (("known", trusted), ("unknown", pair_of("another"))):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair_of("localhost", by=by).write(tmp_path, name))
        contexts.append(context)
    answers = Keys(known.jwks), Keys(unknown.jwks)
    async with (
        serving(answers[0], ports[0], contexts[0]),
        serving(answers[1], ports[1], contexts[1]),
        guarded(tmp_path / "home", rules=rules) as (client, _, _),
    ):
        await eventually(lambda: _is(client, known.token(), GOOD), what="keys of a server that is trusted")
        assert await ask(client, unknown.token()) == REFUSED
    assert answers[1].asked == 0


async def _is(client, token, wanted):
    return await ask(client, token) == wanted


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("https://id.example/keys", "needs certificate authorities"),
        ("http://id.example:99999/keys", "is not http://host"),
        ("http://id.example/a b", "visible characters"),
        ("http://", "has no host"),
        (f"http://id.example/{'x' * 3000}", "visible characters"),
        ("http://yolo.default.svc:8000/keys", "headless Service"),
    ],
)
def test_uri_that_keys_cannot_come_from_says_why(uri, why):
    services = index_services([service("yolo", {"http": 8000})], [], [])
    with pytest.raises(NotFetched, match=why):
        key_source(uri, timeout_s=1, services=services, trusted="")


@given(st.text(max_size=40), st.sampled_from(["http://", "https://", "http://a", ""]))
def test_any_uri_is_one_that_envoy_can_ask_or_is_refused(text, scheme):
    try:
        source = key_source(scheme + text, timeout_s=1, services={}, trusted="/ca.crt")
    except NotFetched:
        return
    assert source.host
    assert 0 < source.port < 65536
    assert source.uri.isascii()
    json.dumps(render_key_cluster(source))


def test_addresses_of_services_and_of_the_world_are_found():
    services = index_services([service("keys", {"http": 8000}, cluster_ip="127.96.0.9")], [], [])

    def found(uri):
        source = key_source(uri, timeout_s=1, services=services, trusted="/ca.crt")
        return source.address, source.port, source.authorities

    assert found("http://keys.default.svc.cluster.local:8000/") == ("127.96.0.9", 8000, "")
    assert found("http://keys.default/") == ("127.96.0.9", 80, "")
    assert found("https://[::1]:8443/keys") == ("::1", 8443, "/ca.crt")
    assert found("https://id.example/keys") == ("", 443, "/ca.crt")


def test_number_of_hosts_that_keys_come_from_is_bounded():
    rules = [
        {"issuer": str(number), "jwksUri": f"http://h{number}.example/"} for number in range(limits.MAX_KEY_SOURCES)
    ]
    more = [{"issuer": "same", "jwksUri": "http://h0.example/b"}, {"issuer": "new", "jwksUri": "http://new.example/"}]
    found = read_authentications([authentication(*rules, *more)], findings := [], services={}, trusted="")
    assert [bool(rule.source) for rule in found] == [True] * (limits.MAX_KEY_SOURCES + 1) + [False]
    assert found[-1].jwks == NO_KEYS
    (finding,) = findings
    assert finding.message == "keys are fetched from 16 hosts already: no token of this issuer is valid"
