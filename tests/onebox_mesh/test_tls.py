"""HTTPS at the gateway: which certificate for which host, rotation, and what is not served without one."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import aiohttp
import pytest

from slipway.onebox.mesh.gateways import MAX_CERTIFICATES, port_here
from slipway.onebox.mesh.layout import ENVOYS
from slipway.onebox.mesh.refusals import Refusals
from slipway.onebox.mesh.translate import Site, translate
from slipway.onebox.services.status import secure_addresses
from tests.onebox_mesh.certificates import chain_of, tls_secret
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import GATEWAY, destination, gateway, item, virtual_service, world
from tests.ports import free_port
from tests.waiting import eventually

SITE = Site("127.0.0.1", 8080, "/slipway/page.html")
PATH = "/seldon/default/yolo/api/v1.0/predictions"


def secure(port, *hosts, credential="gateway-tls", mode="SIMPLE"):
    tls = {"mode": mode, **({"credentialName": credential} if credential else {})}
    return {"port": {"number": port, "name": "https", "protocol": "HTTPS"}, "hosts": list(hosts), "tls": tls}


def gateway_of(*servers, name="seldon-gateway"):
    spec = {"selector": {"istio": "ingressgateway"}, "servers": list(servers)}
    return item("Gateway", name, spec, namespace="istio-system")


async def shown(port, host):
    """The certificate that a client who asks for ``host`` gets, in PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(der)


async def asked(reader, writer):
    """The first line of an answer on an open connection."""
    writer.write(f"POST {PATH} HTTP/1.1\r\nhost: yolo.example\r\ncontent-length: 2\r\n\r\n{{}}".encode())
    return (await reader.readline()).strip()


@pytest.mark.e2e
async def test_https_is_served_with_each_host_s_certificate_and_a_new_one_is_taken_over(tmp_path):
    port = free_port()
    yolo, wild = tls_secret("yolo.example"), tls_secret("any.example", name="wild")
    servers = (secure(port, "yolo.example"), secure(port, "*", credential="wild"))
    async with running_upstreams(stable=1) as upstreams:
        objects = world(
            [virtual_service({"stable": 0})],
            upstreams.predictors(),
            ports=upstreams.ports,
            gateways=[gateway_of(*servers)],
        )
        objects = replace(objects, secrets=(yolo, wild))
        async with running_gateway(tmp_path, objects) as running, aiohttp.ClientSession() as client:
            trusts = ssl.create_default_context(cadata=chain_of(yolo))

            async def ask(url, **more):
                async with client.post(f"{url}{PATH}", data=b"{}", headers={"host": "yolo.example"}, **more) as reply:
                    return reply.status

            address = f"https://127.0.0.1:{port}"
            heard = [secure_addresses(await admin.listeners() or {}) for admin in running.admins]
            assert heard == [(f"127.0.0.1:{port}",)] * len(ENVOYS)
            assert await ask(address, ssl=trusts, server_hostname="yolo.example") == 200
            assert await ask(running.url) == 404  # no server of HTTP: its routes are not served in the clear
            assert await shown(port, "other.example") == chain_of(wild)
            files = sorted(path.name for path in running.layout.paths.mesh.glob("certificate-*"))
            assert files == ["certificate-istio-system.gateway-tls.json", "certificate-istio-system.wild.json"]
            modes = [path.stat().st_mode & 0o077 for path in running.layout.paths.mesh.glob("certificate-*")]
            assert modes == [0, 0]
            before = await asyncio.open_connection("127.0.0.1", port, ssl=trusts, server_hostname="yolo.example")
            renewed = tls_secret("yolo.example")
            assert await running.publish(replace(objects, secrets=(renewed, wild)))

            async def is_renewed():
                return {await shown(port, "yolo.example") for _ in range(8)} == {chain_of(renewed)}

            await eventually(is_renewed, what="the new certificate from both Envoys")
            assert await asked(*before) == b"HTTP/1.1 200 OK"  # what was open goes on
            before[1].close()
            route = {
                "route": [{"destination": destination("stable", 8000)}],
                "headers": {"response": {"set": {"x": "%NOBODY%"}}},
            }
            refused = item("VirtualService", "odd", {"hosts": ["*"], "gateways": [GATEWAY], "http": [route]})
            with_refused = replace(objects, virtual_services=(*objects.virtual_services, refused))
            assert not await running.publish(with_refused)
            refusals = Refusals(running.layout, running.site)
            assert await refusals.search(with_refused)
            settled, findings = refusals.settle(with_refused)
            assert [finding.name for finding in findings] == ["odd"]
            assert await running.publish(settled)
            assert await running.publish(replace(objects, gateways=(gateway(),)))
            assert await ask(running.url) == 200
            assert not list(running.layout.paths.mesh.glob("certificate-*"))
            logs = "".join((running.layout.paths.logs / f"envoy-{index}.log").read_text() for index in ENVOYS)
    assert "PRIVATE KEY" not in logs


def findings_of(*gateways, secrets=()):
    objects = replace(world([], {}, gateways=gateways), secrets=secrets)
    mesh = translate(objects, SITE)
    return [finding.message for finding in mesh.findings], [one.port for one in mesh.listeners]


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (secure(443, "*", credential=""), "a credentialName"),
        (secure(443, "*", mode="PASSTHROUGH"), "tls.mode SIMPLE"),
        (secure(443, "*", mode="MUTUAL"), "ca.crt has no certificate in PEM: this server is not served"),
        (secure(443, "*", credential="absent"), "there is no Secret istio-system/absent: this server is not served"),
        (secure(443), "needs a port and hosts"),
        (secure(0, "*"), "needs a port and hosts"),
        ({"port": {"number": 9, "protocol": "TCP"}, "hosts": ["*"]}, "speaks HTTP, and HTTPS"),
    ],
)
def test_server_that_cannot_be_served_says_why(server, words):
    messages, ports = findings_of(gateway_of(server), secrets=(tls_secret("a.example"),))
    assert [words in message for message in messages] == [True], messages
    assert ports == [8080]


def test_secret_that_holds_no_key_pair_is_said():
    odd = {**tls_secret("a.example"), "data": {"tls.crt": "not base64!", "tls.key": ""}}
    messages, ports = findings_of(gateway_of(secure(443, "*")), secrets=(odd,))
    assert ["in PEM" in message for message in messages] == [True]
    assert ports == [8080]


def test_host_of_two_servers_on_one_port_is_the_first_s():
    two = gateway_of(secure(443, "a.example"), secure(443, "a.example", "b.example"))
    messages, ports = findings_of(two, secrets=(tls_secret("a.example"),))
    assert messages == ["a.example: port 443 serves it already: this one has no effect"]
    assert ports == [8080, 8443]


def test_number_of_certificates_is_bounded():
    many = gateway_of(*(secure(443, f"{number}.example") for number in range(MAX_CERTIFICATES + 2)))
    messages, _ = findings_of(many, secrets=(tls_secret("a.example"),))
    assert len(messages) == 2


def test_low_ports_move_as_80_does():
    assert [port_here(number, 8080) for number in (443, 80, 8443)] == [8443, 8080, 8443]


def test_key_is_in_no_text_of_the_mesh():
    objects = replace(world([], {}, gateways=[gateway_of(secure(443, "*"))]), secrets=(tls_secret("a.example"),))
    assert "PRIVATE KEY" not in repr(translate(objects, SITE))


def test_virtual_service_of_a_secure_gateway_is_bound_without_a_finding():
    named = gateway_of(
        secure(443, "yolo.example"), {"port": {"number": 80, "protocol": "HTTP"}, "hosts": ["plain.example"]}
    )
    virtual = item("VirtualService", "own", {"hosts": ["yolo.example"], "gateways": [GATEWAY], "http": [{"route": []}]})
    objects = replace(world([virtual], {}, gateways=[named]), secrets=(tls_secret("yolo.example"),))
    mesh = translate(objects, SITE)
    assert not [finding for finding in mesh.findings if finding.field == "spec.hosts"]
    assert [host.name for host in mesh.virtual_hosts] == ["*"]
    assert [host.name for host in mesh.secure_hosts["gateway-tls-443"]] == ["*", "yolo.example"]
