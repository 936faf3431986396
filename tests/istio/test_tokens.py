"""The objects of istio/components/jwt, by the gateway of one machine: real Envoys, real signatures."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from tests.data import REPOSITORY
from tests.manifests.kustomizations import built
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.tokens import Issuer
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import virtual_service, world

PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"


def of_kind(kind: str) -> tuple[dict[str, Any], ...]:
    return tuple(deepcopy(item) for item in built(REPOSITORY / "istio" / "overlays" / "public") if item["kind"] == kind)


@pytest.mark.e2e
async def test_predictions_need_a_token_of_the_issuer_and_its_audience(tmp_path):
    (authentication,) = of_kind("RequestAuthentication")
    (rule,) = authentication["spec"]["jwtRules"]
    issuer, forger = Issuer(rule["issuer"]), Issuer(rule["issuer"])
    del rule["jwksUri"]  # as its comment says: nobody is there in a test
    rule["jwks"] = issuer.jwks
    (audience,) = rule["audiences"]
    async with running_upstreams(stable=1) as upstreams:
        objects = replace(
            world([virtual_service({"stable": 0})], upstreams.predictors(), ports=upstreams.ports),
            request_authentications=(authentication,),
            authorization_policies=of_kind("AuthorizationPolicy"),
        )
        async with running_gateway(tmp_path, objects) as gateway, aiohttp.ClientSession(gateway.url) as client:
            said = []
            for token in ("", issuer.token(aud=audience), forger.token(aud=audience), issuer.token(aud="else")):
                headers = {"authorization": f"Bearer {token}"} if token else {}
                async with client.post(PREDICTIONS, data=b"{}", headers=headers) as reply:
                    said.append(reply.status)
    assert said == [403, 200, 401, 403]
    assert len(upstreams.members[0].seen) == 1
