"""Gateway servers of HTTP that only send to HTTPS (tls.httpsRedirect)."""

from __future__ import annotations

from dataclasses import replace

import aiohttp
import pytest

from slipway.onebox.mesh.gateways import port_here
from slipway.onebox.mesh.translate import translate
from tests.onebox_mesh.certificates import tls_secret
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.test_tls import PATH, SITE, findings_of, gateway_of, secure
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import GATEWAY, item, virtual_service, world


def plain(*hosts, redirects=True, **more):
    tls = {"tls": {"httpsRedirect": redirects, **more}} if redirects or more else {}
    return {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": list(hosts), **tls}


@pytest.mark.e2e
async def test_plain_http_is_sent_to_the_port_where_https_is_served(tmp_path):
    async with running_upstreams(stable=1) as upstreams:
        objects = world(
            [virtual_service({"stable": 0})],
            upstreams.predictors(),
            ports=upstreams.ports,
            gateways=[gateway_of(plain("*"), secure(443, "*"))],
        )
        objects = replace(objects, secrets=(tls_secret("yolo.example"),))
        async with running_gateway(tmp_path, objects) as running, aiohttp.ClientSession() as client:
            port = port_here(443, running.site.port)
            headers = {"host": f"yolo.example:{running.site.port}", "x-forwarded-proto": "https"}
            url = f"{running.url}{PATH}?a=b"
            async with client.post(url, data=b"{}", headers=headers, allow_redirects=False) as reply:
                assert (reply.status, reply.headers["location"]) == (301, f"https://yolo.example:{port}{PATH}?a=b")
            assert not upstreams.members[0].seen
            async with client.post(f"https://127.0.0.1:{port}{PATH}", data=b"{}", ssl=False) as reply:
                assert reply.status == 200
            async with client.get(f"{running.url}/slipway/deployments.json", ssl=False) as reply:  # follows
                assert reply.url.port == port
                assert (await reply.json())["deployments"] == [{"namespace": "default", "name": "yolo", "ready": True}]


def hosts_of(servers, *virtual_services):
    """Host of the plain listener → whether it is only sent to HTTPS."""
    objects = world(virtual_services, {}, gateways=[gateway_of(*servers)])
    mesh = translate(replace(objects, secrets=(tls_secret("a.example"),)), SITE)
    return {host.name: host.routes[0].https_port for host in mesh.virtual_hosts}


def own(*hosts, name="own"):
    return item("VirtualService", name, {"hosts": list(hosts), "gateways": [GATEWAY], "http": [{"route": []}]})


@pytest.mark.parametrize(
    ("servers", "hosts", "found"),
    [
        ([plain("*")], ["*"], {"*": 8443}),
        ([plain("a.example")], ["*"], {"*": None, "a.example": 8443}),
        ([plain("*"), plain("b.example", redirects=False)], ["*"], {"*": 8443, "b.example": None}),
        ([plain("*.example"), plain("*", redirects=False)], ["a.example"], dict.fromkeys(["*.example", "a.example"], 8443) | {"*": None}),
        ([plain("a.example", redirects=False), plain("b.example")], ["a.example"], {"*": None, "a.example": None, "b.example": 8443}),
        ([plain("*", redirects=False)], ["*"], {"*": None}),
    ],
)  # fmt: skip
def test_hosts_of_redirecting_servers_have_no_routes_in_the_clear(servers, hosts, found):
    assert hosts_of([*servers, secure(443, "*")], own(*hosts)) == found


@pytest.mark.parametrize(
    ("servers", "messages"),
    [
        ([plain("*"), secure(443, "*")], []),
        ([plain("*")], ["leads to port 8443, where no HTTPS server of port 443 is served"]),
        ([plain("not a host"), secure(443, "*")], ["'not a host' is not *, *.domain or a host name"]),
        ([plain("*", mode="SIMPLE"), secure(443, "*")], ["not supported on one machine: it has no effect here"]),
        (
            [plain("*"), plain("*", redirects=False), secure(443, "*")],
            ["*: a server without httpsRedirect has it too: it is redirected"],
        ),
    ],
)
def test_redirect_that_leads_nowhere_or_takes_others_along_says_so(servers, messages):
    assert findings_of(gateway_of(*servers), secrets=(tls_secret("a.example"),))[0] == messages
