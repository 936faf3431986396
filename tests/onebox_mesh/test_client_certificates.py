"""Gateway servers that ask their clients for certificates (tls.mode MUTUAL, OPTIONAL_MUTUAL), by real Envoys."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from slipway.onebox.mesh.render_listeners import render_gateway
from slipway.onebox.mesh.translate import translate
from tests.onebox_mesh.certificates import pair_of, tls_secret
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.test_render import LAYOUT
from tests.onebox_mesh.test_tls import PATH, SITE, findings_of, gateway_of, secure
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import virtual_service, world
from tests.ports import free_port
from tests.waiting import eventually

AUTHORITY = pair_of("authority")


def mutual(port=443, *hosts, mode="MUTUAL", **more):
    server = secure(port, *(hosts or ("*",)), mode=mode)
    return {**server, "tls": {**server["tls"], **more}}


@asynccontextmanager
async def served(tmp_path, server, *secrets):
    """``ask(pair)``: the status for a client who shows that certificate, or None."""
    async with running_upstreams(stable=1) as upstreams:
        objects = world(
            [virtual_service({"stable": 0})],
            upstreams.predictors(),
            ports=upstreams.ports,
            gateways=[gateway_of(server)],
        )
        objects = replace(objects, secrets=secrets)
        async with running_gateway(tmp_path, objects) as running:

            async def ask(pair=None, *, highest=ssl.TLSVersion.TLSv1_3):
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                context.maximum_version = highest
                if pair is not None:
                    context.load_cert_chain(*pair.write(tmp_path, "client"))
                address = f"https://127.0.0.1:{server['port']['number']}{PATH}"
                headers = {"x-forwarded-client-cert": "By=forged"}
                async with aiohttp.ClientSession() as client:
                    try:
                        async with client.post(address, data=b"{}", ssl=context, headers=headers) as reply:
                            return reply.status
                    except aiohttp.ClientError:
                        return "refused"

            yield ask, lambda new: running.publish(replace(objects, secrets=new)), upstreams.members[0]


@pytest.mark.e2e
async def test_mutual_serves_only_whom_the_authority_signed_and_a_new_authority_counts_at_once(tmp_path):
    ada, eve = pair_of("ada.example", by=AUTHORITY), pair_of("eve.example", by=pair_of("another"))
    secret = tls_secret("yolo.example", ca_crt=AUTHORITY.chain)
    server = mutual(free_port(), minProtocolVersion="TLSV1_3")
    async with served(tmp_path, server, secret) as (ask, publish, upstream):
        assert [await ask(ada), await ask(), await ask(eve)] == [200, "refused", "refused"]
        told = upstream.seen[-1][2]["x-forwarded-client-cert"]
        assert 'Subject="CN=ada.example"' in told
        assert "DNS=ada.example" in told
        assert "forged" not in told
        assert await ask(ada, highest=ssl.TLSVersion.TLSv1_2) == "refused"
        other = pair_of("renewed")
        bob = pair_of("bob.example", by=other)
        assert await publish((secret, tls_secret("x", name="gateway-tls-cacert", cacert=other.chain)))

        async def is_renewed():
            return [await ask(bob) for _ in range(4)] == [200] * 4

        await eventually(is_renewed, what="the new authority at both Envoys")
        assert await ask(ada) == "refused"


@pytest.mark.e2e
async def test_optional_mutual_also_takes_who_shows_none(tmp_path):
    ada, eve = pair_of("ada.example", by=AUTHORITY), pair_of("eve.example", by=pair_of("another"))
    server = mutual(free_port(), mode="OPTIONAL_MUTUAL")
    async with served(tmp_path, server, tls_secret("yolo.example", ca_crt=AUTHORITY.chain)) as (ask, _, upstream):
        assert await ask() == 200
        assert "x-forwarded-client-cert" not in upstream.seen[-1][2]
        assert [await ask(ada), await ask(eve)] == [200, "refused"]


@pytest.mark.e2e
async def test_names_are_those_of_the_clients_that_may_come(tmp_path):
    ada, eve = (pair_of(f"{name}.example", by=AUTHORITY) for name in ("ada", "eve"))
    server = mutual(free_port(), subjectAltNames=["ada.example", "spiffe://x/y"])
    async with served(tmp_path, server, tls_secret("yolo.example", ca_crt=AUTHORITY.chain)) as (ask, _, _):
        assert [await ask(ada), await ask(eve), await ask()] == [200, "refused", "refused"]


GOOD = tls_secret("a.example", ca_crt=AUTHORITY.chain)


@pytest.mark.parametrize(
    ("server", "secret", "words"),
    [
        (mutual(), tls_secret("a", ca_crt=AUTHORITY.chain.replace("\nMII", "\nAAA")), "ca.crt cannot be read"),
        (mutual(), tls_secret("a", ca_crt="-----BEGIN CERTIFICATE-----\nx"), "ca.crt has no certificate"),
        (mutual(), tls_secret("a", ca_crt=AUTHORITY.chain, ca_crl="x"), "ca.crl is not looked at"),
        (mutual(caCertCredentialName="own"), GOOD, "there is no Secret istio-system/own: this server is not served"),
        (mutual(mode="ISTIO_MUTUAL"), GOOD, "tls.mode SIMPLE, MUTUAL or OPTIONAL_MUTUAL"),
    ],
)
def test_server_that_could_not_ask_as_it_says_is_not_served(server, secret, words):
    messages, ports = findings_of(gateway_of(server), secrets=(secret,))
    assert [words in message for message in messages] == [True], messages
    assert ports == [8080]


def test_a_port_asks_all_of_its_clients_the_same():
    servers = (mutual(443, "a.example"), secure(443, "b.example"), mutual(443, "c.example"))
    messages, ports = findings_of(gateway_of(*servers), secrets=(GOOD,))
    assert messages == ["port 443 asks its clients otherwise already: this one is not served: give it a port"]
    assert ports == [8080, 8443]


def test_a_secret_of_its_own_holds_the_authorities():
    own = tls_secret("x", name="own", ca_crt=f"# die Behörde für alle\n{AUTHORITY.chain}")
    server = mutual(caCertCredentialName="own", maxProtocolVersion="TLSV1_9", caCertificates="/etc/ca.crt")
    objects = replace(world([], {}, gateways=[gateway_of(server)]), secrets=(tls_secret("a.example"), own))
    mesh = translate(objects, SITE)
    (listener,) = [item for item in mesh.listeners if item.chains]
    assert listener.chains[0].client.authorities == AUTHORITY.chain
    assert [finding.message for finding in mesh.findings] == [
        "is a file of a cluster's gateway Pod: here ca.crt of a Secret says whom to trust",
        "'TLSV1_9' is not one of TLS_AUTO, TLSV1_0, TLSV1_1, TLSV1_2, TLSV1_3: Envoy's own is used",
    ]
    (rendered,) = render_gateway(listener, layout=LAYOUT, access_log="/dev/null")["filter_chains"]
    assert rendered["transport_socket"]["typed_config"]["require_client_certificate"] is True
