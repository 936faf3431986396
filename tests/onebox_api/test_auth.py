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
from slipway.onebox.api.escalation import MAX_GRANTS, MAX_SHOWN, not_held
from slipway.onebox.api.server import make_app
from slipway.onebox.paths import Paths

AUTHORITY = "-----BEGIN CERTIFICATE-----"
ADMIN, ROBOT = "token-of-the-administrator", "token-of-the-robot"
CORE, RBAC = "/api/v1/namespaces/default", "/apis/rbac.authorization.k8s.io/v1"
Client = TestClient[aiohttp.web.Request, aiohttp.web.Application]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """An API with the service account `robot` and its token."""
    parts = make_parts(Paths(tmp_path), admin_token=ADMIN, admission={}, authority=AUTHORITY)
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


async def test_a_service_accounts_secret_without_a_token_is_given_one(client: Client) -> None:
    secret = {
        "metadata": {"name": "made-here", "annotations": {"kubernetes.io/service-account.name": "robot"}},
        "type": "kubernetes.io/service-account-token",
    }
    await made(client, f"{CORE}/secrets", secret)
    headers = {"Authorization": f"Bearer {ADMIN}"}
    data = (await (await client.get(f"{CORE}/secrets/made-here", headers=headers)).json())["data"]
    token = base64.b64decode(data["token"]).decode()
    assert [base64.b64decode(data[key]).decode() for key in ("namespace", "ca.crt")] == ["default", AUTHORITY]
    assert token not in (ADMIN, ROBOT)
    assert await ask(client, "GET", "/api", token=token) == 200
    assert await ask(client, "GET", "/api", token=token + "x") == 401


async def test_a_service_accounts_secret_keeps_what_it_brings(client: Client) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    data = (await (await client.get(f"{CORE}/secrets/robot-token", headers=headers)).json())["data"]
    assert data.keys() == {"ca.crt", "namespace", "token"}
    assert base64.b64decode(data["token"]).decode() == ROBOT
    own = {"metadata": {"name": "own"}, "type": "Opaque", "data": {"ca.crt": "eA=="}}
    await made(client, f"{CORE}/secrets", own)
    assert (await (await client.get(f"{CORE}/secrets/own", headers=headers)).json())["data"] == own["data"]


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


# -- nobody grants what he does not hold

EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
ROLES = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]}
WRITE_ROLES = {**ROLES, "verbs": ["create", "update", "patch", "get"]}
HERE = f"{RBAC}/namespaces/default"


def role(*rules: dict[str, Any], name: str = "all") -> dict[str, Any]:
    return {"metadata": {"name": name}, "rules": list(rules)}


def binding(role_name: str, kind: str = "Role", name: str = "mine") -> dict[str, Any]:
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role_name}
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}
    return {"metadata": {"name": name}, "subjects": [subject], "roleRef": ref}


async def refusal(client: Client, method: str, path: str, body: Any, **headers: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {ROBOT}", **{key.replace("_", "-"): value for key, value in headers.items()}}
    response = await client.request(method, path, json=body, headers=headers)
    return response.status, (await response.json()).get("message", "")


async def test_whoever_may_write_roles_gives_himself_nothing_more(client: Client) -> None:
    await grant(client, WRITE_ROLES)
    status, message = await refusal(client, "POST", f"{HERE}/roles", role(EVERYTHING))
    assert status == 403
    assert message == (
        'roles.rbac.authorization.k8s.io "all" is forbidden: user "system:serviceaccount:default:robot" '
        '(groups=["system:serviceaccounts" "system:serviceaccounts:default" "system:authenticated"]) is attempting to '
        'grant RBAC permissions not currently held:\n{APIGroups:["*"], Resources:["*"], Verbs:["*"]}'
    )
    await made(client, f"{HERE}/roles", role(EVERYTHING))
    await made(client, f"{RBAC}/clusterroles", role(EVERYTHING))
    for kind in ("Role", "ClusterRole"):
        assert await ask(client, "POST", f"{HERE}/rolebindings", binding("all", kind)) == 403
    assert await ask(client, "POST", f"{HERE}/rolebindings", binding("none")) == 404
    assert await ask(client, "GET", f"{CORE}/secrets") == 403


async def test_no_way_of_writing_a_role_leads_around_it(client: Client) -> None:
    await grant(client, WRITE_ROLES, READ)
    assert await ask(client, "POST", f"{HERE}/roles", role(READ, name="own")) == 201
    more = {"rules": [READ, EVERYTHING]}
    assert await ask(client, "PUT", f"{HERE}/roles/own", role(EVERYTHING, name="own")) == 403
    for media in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        assert (await refusal(client, "PATCH", f"{HERE}/roles/own", more, Content_Type=media))[0] == 403
    operations = [{"op": "add", "path": "/rules/-", "value": EVERYTHING}]
    path = f"{HERE}/roles/own"
    assert (await refusal(client, "PATCH", path, operations, Content_Type="application/json-patch+json"))[0] == 403
    applied = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "own"}, **more}
    query = "?fieldManager=x&force=true"
    assert (await refusal(client, "PATCH", path + query, applied, Content_Type="application/apply-patch+yaml"))[
        0
    ] == 403
    assert await ask(client, "POST", f"{HERE}/roles?dryRun=All", role(EVERYTHING)) == 403
    assert (
        await ask(client, "POST", f"{HERE}/roles", {"metadata": {"generateName": "x-"}, "rules": [EVERYTHING]}) == 403
    )
    labelled = {"metadata": {"labels": {"a": "b"}}}
    assert (await refusal(client, "PATCH", path, labelled, Content_Type="application/merge-patch+json"))[0] == 200


async def test_what_one_holds_one_may_grant(client: Client) -> None:
    wide = {"apiGroups": ["", "apps"], "resources": ["configmaps", "pods", "*/scale"], "verbs": ["*"]}
    await grant(client, WRITE_ROLES, wide)
    narrow = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get", "delete"]}
    scale = {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["update"]}
    assert await ask(client, "POST", f"{HERE}/roles", role(narrow, scale, name="own")) == 201
    assert await ask(client, "POST", f"{HERE}/rolebindings", binding("own")) == 201
    for rule in (
        {"apiGroups": ["batch"], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        {"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"]},
    ):
        assert await ask(client, "POST", f"{HERE}/roles", role(rule)) == 403, rule


async def test_a_name_is_no_right_to_all(client: Client) -> None:
    await grant(client, WRITE_ROLES, {**READ, "resourceNames": ["mine"]})
    assert await ask(client, "POST", f"{HERE}/roles", role({**READ, "resourceNames": ["mine"]}, name="own")) == 201
    assert await ask(client, "POST", f"{HERE}/roles", role(READ)) == 403
    assert await ask(client, "POST", f"{HERE}/roles", role({**READ, "resourceNames": ["mine", "other"]})) == 403


async def test_escalate_and_bind_are_verbs_of_their_own(client: Client) -> None:
    bind = {**ROLES, "resources": ["clusterroles"], "resourceNames": ["view"], "verbs": ["bind"]}
    await grant(client, WRITE_ROLES, {**ROLES, "verbs": ["escalate"]}, bind)
    assert await ask(client, "POST", f"{HERE}/roles", role(EVERYTHING)) == 201
    assert await ask(client, "POST", f"{HERE}/rolebindings", binding("all")) == 403
    assert await ask(client, "POST", f"{HERE}/rolebindings", binding("edit", "ClusterRole")) == 403
    assert await ask(client, "POST", f"{HERE}/rolebindings", binding("view", "ClusterRole")) == 201
    assert await ask(client, "GET", f"{CORE}/configmaps") == 200


async def test_who_acts_as_another_grants_what_the_other_holds(client: Client) -> None:
    await grant(client, WRITE_ROLES)
    robot = "system:serviceaccount:default:robot"
    headers = {"token": ADMIN, "Impersonate_User": robot}
    assert await ask(client, "POST", f"{HERE}/roles", role(EVERYTHING), **headers) == 403
    assert await ask(client, "POST", f"{HERE}/roles", role(EVERYTHING), token=ADMIN) == 201


def test_a_role_of_more_rights_than_are_looked_at_is_refused_quickly() -> None:
    names = [str(number) for number in range(2000)]
    rule = {"verbs": names, "apiGroups": names, "resources": names, "resourceNames": names}
    assert not_held([rule], [READ]) == [f"more than {MAX_GRANTS} single rights: grant them in several roles"]
    assert not_held([rule], [rule]) == []
    assert len(not_held([{**READ, "resources": names}], [])) == MAX_SHOWN + 1


def test_rights_to_paths_are_held_by_prefix() -> None:
    held = [{"nonResourceURLs": ["/healthz/*", "/version"], "verbs": ["get"]}]
    assert not_held([{"nonResourceURLs": ["/healthz/x", "/version"], "verbs": ["get"]}], held) == []
    asked = [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    assert not_held(asked, held) == ['{NonResourceURLs:["/metrics"], Verbs:["get"]}']


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (f"{HERE}/roles", role({"verbs": [], "apiGroups": [""], "resources": ["pods"]}), "rules[0].verbs"),
        (f"{HERE}/roles", role({"verbs": ["get"], "resources": ["pods"]}), "rules[0].apiGroups"),
        (f"{HERE}/roles", role({"verbs": ["get"], "apiGroups": [""]}), "rules[0].resources"),
        (f"{HERE}/roles", role({"verbs": ["get"], "nonResourceURLs": ["/x"]}), "rules[0].nonResourceURLs"),
        (f"{RBAC}/clusterroles", role({**READ, "nonResourceURLs": ["/x"]}), "rules[0].nonResourceURLs"),
        (f"{HERE}/rolebindings", binding("x", "Bogus"), "roleRef.kind"),
        (f"{RBAC}/clusterrolebindings", binding("x"), "roleRef.kind"),
        (f"{HERE}/rolebindings", binding(""), "roleRef.name"),
        (f"{HERE}/rolebindings", {**binding("x"), "subjects": [{"kind": "User"}]}, "subjects[0].name"),
        (f"{HERE}/rolebindings", {**binding("x"), "subjects": [{"kind": "Robot", "name": "x"}]}, "subjects[0].kind"),
    ],
)
async def test_role_or_binding_that_kubernetes_refuses_is_refused(
    path: str, body: Any, field: str, client: Client
) -> None:
    response = await client.post(path, json=body, headers={"Authorization": f"Bearer {ADMIN}"})
    answer = await response.json()
    assert (response.status, [cause["field"] for cause in answer["details"]["causes"]]) == (422, [field])
