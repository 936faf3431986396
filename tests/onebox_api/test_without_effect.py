"""Whoever applies a manifest with a field that has no effect is told so, as kubectl shows warnings."""

from __future__ import annotations

import json
import shutil

import pytest

from slipway.onebox.api.admission import warnings
from tests.contract.manifests import predictor, sdep
from tests.contract.test_learning import router
from tests.onebox_api.conftest import ApiProcess

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
WARNING = "Warning: spec.predictors[0].engineResources has no effect: say svcOrchSpec.resources instead"


def test_apply_warns_of_fields_without_effect(api: ApiProcess) -> None:
    manifest = sdep(predictor(engineResources={"requests": {"cpu": "1"}}))
    del manifest["metadata"]["namespace"], manifest["metadata"]["uid"], manifest["metadata"]["generation"]
    for how in (("apply",), ("apply", "--server-side", "--force-conflicts")):
        assert WARNING in api.kubectl(*how, "-f", "-", stdin=json.dumps(manifest)), how
    del manifest["spec"]["predictors"][0]["engineResources"]
    assert "Warning" not in api.kubectl("replace", "-f", "-", stdin=json.dumps(manifest))


def test_apply_warns_of_a_router_whose_replicas_learn_alone() -> None:
    (told,) = warnings(sdep(predictor(graph=router(), replicas=3)))
    assert told.startswith("spec.predictors[0].graph learns alone in each of up to 3 replicas")


def istio(group: str, kind: str, **spec: object) -> str:
    return json.dumps({"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})


def test_apply_warns_of_a_kind_that_only_a_cluster_carries_out(api: ApiProcess) -> None:
    entry = istio("networking.istio.io", "ServiceEntry", hosts=["a.example.com"], resolution="DNS")
    assert "Warning: ServiceEntry: it has no effect" in api.kubectl("apply", "-f", "-", stdin=entry)


@pytest.mark.parametrize(
    ("group", "kind", "spec"),
    [
        ("security.istio.io", "RequestAuthentication", {"jwtRules": [{"issuer": "me", "jwks": "{}"}]}),
        ("security.istio.io", "AuthorizationPolicy", {"action": "DENY", "rules": [{}]}),
        ("networking.istio.io", "ServiceEntry", {"hosts": ["a.example.com"], "resolution": "DNS"}),
    ],
)
def test_istios_kinds_are_taken_by_their_schema(
    api: ApiProcess, group: str, kind: str, spec: dict[str, object]
) -> None:
    assert "created" in api.kubectl("apply", "-f", "-", stdin=istio(group, kind, **spec))
    answer = api.kubectl("apply", "-f", "-", stdin=istio(group, kind, nonsense=1), check=False)
    assert 'unknown field "spec.nonsense"' in answer
