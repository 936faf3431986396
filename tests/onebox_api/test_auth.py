"""Who may do what: service account tokens, Roles and bindings, impersonation, questions about oneself."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.server import make_app
from slipway.onebox.paths import Paths

ADMIN, ROBOT = "token-of-the-administrator", "token-of-the-robot"
CORE, RBAC = "/api/v1/namespaces/default", "/apis/rbac.authorization.k8s.io/v1"
Client = TestClient[aiohttp.web.Request, aiohttp.web.Application]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """An API with the service account `robot` and its token."""
    parts = make_parts(Paths(tmp_path), admin_token=ADMIN, admission={})
    client = TestClient(TestServer(make_app(parts)))
    await client.start_server()
    await made(client, f"{CORE}/serviceaccounts", {"metadata": {"name": "robot"}})
    secret = {
        "metadata": {"name": "robot-token", "annotations": {"kubernetes.io/service-account.name": "robot"}},
        "type": "kubernetes.io/service-account-token",
        "data": {"token": base64.b64encode(ROBOT.encode()).decode()},
    }
    await made(client, f"{CORE}/secrets", secret)
    yield client
    await client.close()
    parts.objects.store.close()


async def ask(client: Client, method: str, path: str, body: Any = None, *, token: str = ROBOT, **headers: str) -> int:
    named = {"Authorization": f"Bearer {token}", **{key.replace("_", "-"): value for key, value in headers.items()}}
    return (await client.request(method, path, json=body, headers=named)).status


async def made(client: Client, path: str, body: Any) -> None:
    assert await ask(client, "POST", path, body, token=ADMIN) == 201, path


async def grant(client: Client, *rules: dict[str, Any], everywhere: bool = False, kind: str = "ServiceAccount") -> None:
    name = "ClusterRole" if everywhere else "Role"
    root = RBAC if everywhere else f"{RBAC}/namespaces/default"
    subject = {"kind": kind, "name": "robot" if kind == "ServiceAccount" else "system:serviceaccounts"}
    if kind == "ServiceAccount":
        subject["namespace"] = "default"
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": name, "name": "r"}
    await made(client, f"{root}/{name.lower()}s", {"metadata": {"name": "r"}, "rules": list(rules)})
    await made(
        client, f"{root}/{name.lower()}bindings", {"metadata": {"name": "b"}, "subjects": [subject], "roleRef": ref}
    )


READ = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}


async def test_a_service_account_may_do_nothing_until_a_binding_says_so(client: Client) -> None:
    assert await ask(client, "GET", f"{CORE}/configmaps") == 403
    await grant(client, READ)
    assert await ask(client, "GET", f"{CORE}/configmaps") == 200
    assert await ask(client, "GET", f"{CORE}/configmaps/none") == 404
    assert await ask(client, "GET", f"{CORE}/configmaps?watch=true") == 403
    assert await ask(client, "POST", f"{CORE}/configmaps", {"metadata": {"name": "x"}}) == 403
    assert await ask(client, "GET", f"{CORE}/secrets") == 403
    assert await ask(client, "GET", "/api/v1/namespaces/kube-system/configmaps") == 403
    assert await ask(client, "GET", "/api/v1/configmaps") == 403


async def test_a_cluster_role_reaches_every_namespace_and_groups_are_subjects(client: Client) -> None:
    await grant(client, READ, everywhere=True, kind="Group")
    for path in (f"{CORE}/configmaps", "/api/v1/namespaces/kube-system/configmaps", "/api/v1/configmaps"):
        assert await ask(client, "GET", path) == 200, path


async def test_a_rule_may_name_single_objects_and_sub_resources(client: Client) -> None:
    one = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get"]}
    logs = {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}
    await grant(client, one, logs)
    assert await ask(client, "GET", f"{CORE}/configmaps/mine") == 404
    assert await ask(client, "GET", f"{CORE}/configmaps/other") == 403
    assert await ask(client, "GET", f"{CORE}/pods/p") == 403
    assert await ask(client, "GET", f"{CORE}/pods/p/log") == 404


async def test_a_list_by_a_name_needs_the_right_to_that_object_only(client: Client) -> None:
    await grant(client, {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine"], "verbs": ["list"]})
    assert await ask(client, "GET", f"{CORE}/secrets?fieldSelector=metadata.name%3Dmine") == 200
    assert await ask(client, "GET", f"{CORE}/secrets?fieldSelector=metadata.name%3D%3Dmine,type%3DOpaque") == 200
    for selector in ("", "metadata.name%3Dother", "metadata.name!%3Dmine", "type%3Dmine"):
        assert await ask(client, "GET", f"{CORE}/secrets?fieldSelector={selector}") == 403


async def test_a_token_ends_with_its_account_and_with_its_secret(client: Client) -> None:
    await grant(client, READ)
    assert await ask(client, "DELETE", f"{CORE}/serviceaccounts/robot", token=ADMIN) == 200
    assert await ask(client, "GET", f"{CORE}/configmaps") == 401
    await made(client, f"{CORE}/serviceaccounts", {"metadata": {"name": "robot"}})
    assert await ask(client, "GET", f"{CORE}/configmaps") == 200
    assert await ask(client, "DELETE", f"{CORE}/secrets/robot-token", token=ADMIN) == 200
    assert await ask(client, "GET", f"{CORE}/configmaps") == 401


async def test_impersonation_asks_with_the_others_rights(client: Client) -> None:
    robot = "system:serviceaccount:default:robot"
    path = f"{CORE}/configmaps"
    assert await ask(client, "GET", path, token=ADMIN) == 200
    assert await ask(client, "GET", path, token=ADMIN, Impersonate_User="jane") == 403
    assert await ask(client, "GET", path, token=ADMIN, Impersonate_User=robot) == 403
    await grant(client, READ)
    assert await ask(client, "GET", path, token=ADMIN, Impersonate_User=robot) == 200
    assert await ask(client, "GET", path, Impersonate_User="slipway:admin") == 403
    assert await ask(client, "GET", path, Impersonate_User=robot, Impersonate_Group="system:masters") == 403


@pytest.mark.parametrize("spec", [{}, {"resourceAttributes": {}, "nonResourceAttributes": {}}])
async def test_a_question_that_asks_nothing_is_422(client: Client, spec: dict[str, Any]) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert await ask(client, "POST", path, {"spec": spec}) == 422
    assert await ask(client, "POST", path.replace("access", "rules"), {"spec": {}}) == 422


async def test_reviews_are_answered_and_not_kept(client: Client) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    headers = {"Authorization": f"Bearer {ROBOT}"}
    for url, allowed in (("/version", True), ("/metrics", False)):
        body = {"spec": {"nonResourceAttributes": {"path": url, "verb": "get"}}}
        answer = await (await client.post(path, json=body, headers=headers)).json()
        assert answer["status"]["allowed"] is allowed
    assert await ask(client, "GET", path, token=ADMIN) == 405
    assert await ask(client, "POST", path, {"spec": {}}, token="") == 401
