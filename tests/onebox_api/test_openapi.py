"""Discovery documents are cached by their hash, and OpenAPI documents by the hash in their address."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.builtin import load_catalog
from slipway.onebox.api.documents import Documents
from slipway.onebox.api.server import make_app
from slipway.onebox.paths import Paths

TOKEN = "test-token-of-the-administrator"
ALL = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[TestClient]:
    parts = make_parts(Paths(tmp_path), admin_token=TOKEN)
    client = TestClient(TestServer(make_app(parts)), headers={"Authorization": f"Bearer {TOKEN}"})
    async with client:
        yield client
    parts.objects.store.close()


async def test_aggregated_discovery_is_not_sent_again(client: TestClient) -> None:
    first = await client.get("/apis", headers=ALL)
    again = await client.get("/apis", headers={**ALL, "If-None-Match": first.headers["Etag"]})
    assert (first.status, again.status, await again.read()) == (200, 304, b"")


async def test_an_openapi_document_moves_with_its_hash(client: TestClient) -> None:
    index = await (await client.get("/openapi/v3")).json(content_type=None)
    address = index["paths"]["apis/machinelearning.seldon.io/v1"]["serverRelativeURL"]
    right = await client.get(address)
    assert right.headers["Cache-Control"] == "public, immutable"
    document = await right.json()
    assert "io.seldon.machinelearning.v1.SeldonDeployment" in document["components"]["schemas"]
    wrong = await client.get(address.partition("?")[0], params={"hash": "ABC"}, allow_redirects=False)
    assert (wrong.status, wrong.headers["Location"]) == (301, address)


def test_documents_of_kinds_that_are_gone_are_not_kept() -> None:
    """Else whoever makes definitions, reads about them and deletes them fills the memory."""
    catalog = load_catalog()
    documents, leases = Documents(catalog), catalog.by_kind("coordination.k8s.io", "Lease")
    assert leases is not None
    for group in ("one.example", "two.example"):
        catalog.register(replace(leases, group=group))
        answer = documents.answer(make_mocked_request("GET", f"/openapi/v3/apis/{group}/v1"))
        assert answer.status == 200
        assert list(documents._rendered) == [f"v3 {group}/v1"]
        catalog.unregister(group, leases.plural)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/version"])
async def test_health_and_version_need_no_token(client: TestClient, path: str) -> None:
    assert (await client.get(path, headers={"Authorization": ""})).status == 200


@pytest.mark.parametrize("token", ["Bearer", "Bearer wrong", "Basic eDp5", "Bearer \u00e9"])
async def test_everything_else_does(client: TestClient, token: str) -> None:
    answer = await client.get("/api/v1/namespaces", headers={"Authorization": token})
    assert (answer.status, (await answer.json())["reason"]) == (401, "Unauthorized")


async def test_a_body_over_the_limit_is_413(client: TestClient) -> None:
    body = b'{"metadata": {"name": "big"}, "data": {"k": "' + b"x" * (3 * 1024 * 1024) + b'"}}'
    answer = await client.post("/api/v1/namespaces/default/configmaps", data=io.BytesIO(body))
    assert answer.status == 413


async def test_a_deeply_nested_body_is_400(client: TestClient) -> None:
    body = b'{"metadata": {"name": "deep"}, "spec": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    answer = await client.post("/api/v1/namespaces/default/configmaps", data=body)
    assert answer.status == 400


async def test_a_client_without_a_token_is_anonymous_and_may_do_nothing(client: TestClient) -> None:
    for path in ("/api/v1/namespaces", "/api", "/openapi/v2"):
        answer = await client.get(path, headers={"Authorization": ""})
        assert answer.status == 403, path
        assert 'User "system:anonymous" cannot' in (await answer.json())["message"]


async def test_a_zero_that_kubernetes_defaults_gets_its_default(client: TestClient) -> None:
    probe = {"tcpSocket": {"port": 80}, "timeoutSeconds": 0, "initialDelaySeconds": 0}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "x:1", "livenessProbe": probe}]}
    answer = await client.post("/api/v1/namespaces/default/pods", json={"metadata": {"name": "p"}, "spec": spec})
    made = (await answer.json())["spec"]
    assert made["containers"][0]["livenessProbe"] == {
        "tcpSocket": {"port": 80},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert made["terminationGracePeriodSeconds"] == 0  # a pointer: zero is meant
