"""Tokens and AuthorizationPolicies at the gateway, by real Envoys and real signatures."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.mesh.authorization import read_policies
from slipway.onebox.mesh.render_security import guards_of_host
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.tokens import Issuer
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import authentication, policy, virtual_service, world

PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
ISSUER = "https://id.example"


@asynccontextmanager
async def guarded(tmp_path, *, rules=(), policies=()):
    """``publish(policies)`` replaces them."""
    async with running_upstreams(stable=1) as upstreams:
        objects = world([virtual_service({"stable": 0})], upstreams.predictors(), ports=upstreams.ports)
        found = (authentication(*rules),) if rules else ()
        objects = replace(objects, request_authentications=found, authorization_policies=tuple(policies))
        async with running_gateway(tmp_path, objects) as gateway, aiohttp.ClientSession(gateway.url) as client:

            async def publish(*new):
                assert await gateway.publish(replace(objects, authorization_policies=new))

            yield client, publish, upstreams.members[0]


async def ask(client, token=None, *, path=PREDICTIONS, **headers):
    given = {"authorization": f"Bearer {token}"} if token else {}
    async with client.post(path, data=b"{}", headers={**given, **headers}) as reply:
        await reply.read()
        return reply.status, reply.headers.get("x-slipway-reason")


@pytest.mark.e2e
async def test_tokens_are_checked_and_policies_deny_first_and_allow_only_what_they_name(tmp_path):
    issuer, forger = Issuer(ISSUER), Issuer(ISSUER)
    rules = [{"issuer": ISSUER, "jwks": issuer.jwks, "audiences": ["yolo"]}, {"jwks": forger.jwks}]  # whose is not said
    good, refused, forbidden = (200, None), (401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED")
    async with guarded(tmp_path, rules=rules) as (client, publish, upstream):
        token = issuer.token(aud="yolo", groups=["eyes"])
        assert await ask(client) == good  # as in Istio: without a token nobody is asked for one
        assert await ask(client, token) == good
        assert "authorization" not in upstream.seen[-1][2]
        for bad in (forger.token(aud="yolo"), issuer.token(aud="yolo", exp=1), "x.y.z"):
            assert await ask(client, bad) == refused
        assert await ask(client, issuer.token(aud="else")) == forbidden  # Envoy's answer, and so Istio's
        assert await ask(client, Issuer("https://else.example").token(aud="yolo")) == refused
        members = policy("members", {"from": [{"source": {"requestPrincipals": [f"{ISSUER}/*"]}}]})
        await publish(members)
        assert [await ask(client), await ask(client, token)] == [forbidden, good]
        banned = policy("banned", {"when": [{"key": "request.auth.claims[groups]", "values": ["eyes"]}]}, action="DENY")
        await publish(members, banned)
        assert [await ask(client, token), await ask(client, issuer.token(aud="yolo"))] == [forbidden, good]
        subject = policy("ada", {"from": [{"source": {"requestPrincipals": [f"{ISSUER}/ada"]}}]})
        await publish(subject)
        assert [await ask(client, token), await ask(client, issuer.token(aud="yolo", sub="eve"))] == [good, forbidden]
        await publish(policy("nobody"))
        assert await ask(client, token) == forbidden
        async with client.post(PREDICTIONS, data=b"{}", headers={"authorization": "Bearer x"}) as reply:
            body = await reply.json()
        assert body["status"]["info"].startswith("the token is not accepted: Jwt")


@pytest.mark.e2e
async def test_policies_look_at_paths_methods_headers_and_addresses(tmp_path):
    good, forbidden = (200, None), (403, "PERMISSION_DENIED")
    feedback = PREDICTIONS.replace("predictions", "feedback")
    async with guarded(
        tmp_path, policies=[policy("p", {"to": [{"operation": {"paths": ["*/predictions"]}}]})]
    ) as setup:
        client, publish, _ = setup
        assert [await ask(client), await ask(client, path=feedback)] == [good, forbidden]
        assert await ask(client, path=f"{PREDICTIONS}?x=/feedback") == good
        await publish(policy("p", {"to": [{"operation": {"notPaths": ["*/predictions"], "methods": ["POST"]}}]}))
        assert [await ask(client), await ask(client, path=feedback)] == [forbidden, good]
        await publish(policy("p", {"when": [{"key": "request.headers[x-team]", "values": ["eyes", "ear*"]}]}))
        teams = [await ask(client, **{"x-team": team}) for team in ("eyes", "ears", "nose")]
        assert teams == [good, good, forbidden]
        await publish(policy("p", {"from": [{"source": {"ipBlocks": ["127.0.0.0/8"]}}]}))
        assert await ask(client) == good
        await publish(policy("p", {"from": [{"source": {"notIpBlocks": ["127.0.0.1"]}}]}))
        assert await ask(client) == forbidden
        await publish(policy("p", {"from": [{"source": {"namespaces": ["default"]}}]}))
        assert await ask(client) == forbidden
        await publish(policy("p", {"to": [{"operation": {"ports": ["80"]}}]}, action="DENY"))
        assert await ask(client) == forbidden  # what cannot be asked denies all the more
        outside = policy("p", {"to": [{"operation": {"paths": ["*/predictions"]}}]}, action="CUSTOM")
        outside["spec"]["provider"] = {"name": "ext-authz"}
        await publish(outside)
        assert [await ask(client), await ask(client, path=feedback)] == [forbidden, good]  # nobody can be asked here
        await publish()
        assert await ask(client) == good


@pytest.mark.parametrize(
    ("action", "kind", "says"),
    [
        ("CUSTOM", "DENY", "'CUSTOM' cannot be asked on one machine: what its rules match is denied"),
        ("ALLOW", "ALLOW", None),
        ("DENY", "DENY", None),
        ("AUDIT", None, "nothing is audited on one machine: this policy has no effect"),
    ],
)
def test_an_action_that_nobody_carries_out_denies_or_has_no_effect_and_says_so(action, kind, says):
    found = read_policies([policy("p", {}, action=action)], findings := [])
    assert [item.action for item in found] == ([kind] if kind else [])
    assert [finding.message for finding in findings] == ([says] if says else [])


KEYS = [
    "from",
    "to",
    "when",
    "source",
    "operation",
    "paths",
    "notPaths",
    "requestPrincipals",
    "ipBlocks",
    "key",
    "values",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4), min_size=1, max_size=3))
def test_any_rules_are_read_and_rendered(rules):
    policies = read_policies([policy("odd", *rules)], findings := [])
    guards_of_host(policies)
    assert len(policies) == 1
    assert all(finding.name == "odd" for finding in findings)
