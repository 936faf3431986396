"""cluster-admin, admin, edit and view are there, bound with kubectl, and let through what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.onebox.api.builtin import load_catalog
from slipway.onebox.api.first_roles import first_roles
from tests.onebox_api.conftest import ApiProcess

ROLES = {role["metadata"]["name"]: role for role in first_roles(load_catalog().rows())}
ROBOT = "system:serviceaccount:default:robot"


def allows(name: str, verb: str, resource: str, group: str = "") -> bool:
    return any(
        group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
        for rule in ROLES[name]["rules"]
    )


@pytest.mark.parametrize(
    ("verb", "resource", "group", "names"),
    [
        ("get", "pods", "", {"view", "edit", "admin"}),
        ("list", "deployments", "apps", {"view", "edit", "admin"}),
        ("get", "pods/log", "", {"view", "edit", "admin"}),
        ("get", "namespaces", "", {"view", "edit", "admin"}),
        ("create", "pods", "", {"edit", "admin"}),
        ("patch", "deployments/scale", "apps", {"edit", "admin"}),
        ("create", "pods/eviction", "", {"edit", "admin"}),
        ("get", "secrets", "", {"edit", "admin"}),
        ("create", "rolebindings", "rbac.authorization.k8s.io", {"admin"}),
        ("get", "roles", "rbac.authorization.k8s.io", {"admin"}),
        ("update", "deployments/status", "apps", set()),
        ("create", "events", "", set()),
        ("get", "nodes", "", set()),
        ("get", "seldondeployments", "machinelearning.seldon.io", set()),
    ],
)
def test_each_role_says_what_it_says_in_a_cluster(verb: str, resource: str, group: str, names: set[str]) -> None:
    assert {name for name in ("view", "edit", "admin") if allows(name, verb, resource, group)} == names


def can(api: ApiProcess, *what: str) -> bool:
    told = api.kubectl("auth", "can-i", *what, f"--as={ROBOT}", check=False)
    return "yes" in told.splitlines()


def test_kubectl_binds_them(api: ApiProcess) -> None:
    names = api.kubectl("get", "clusterroles", "-o", "name").split()
    assert names == [f"clusterrole.rbac.authorization.k8s.io/{name}" for name in sorted(ROLES)]
    api.kubectl("create", "serviceaccount", "robot")
    assert not can(api, "list", "pods")
    api.kubectl("create", "rolebinding", "robot", "--clusterrole=view", "--serviceaccount=default:robot")
    assert [can(api, "list", "pods"), can(api, "delete", "pods"), can(api, "get", "secrets")] == [True, False, False]
    assert "pods is forbidden" in api.kubectl("get", "pods", "-n", "kube-system", f"--as={ROBOT}", check=False)
    api.kubectl("create", "clusterrolebinding", "all", "--clusterrole=cluster-admin", "--serviceaccount=default:robot")
    assert can(api, "delete", "namespaces")


def test_a_start_puts_them_right_and_leaves_what_is_somebodys_own(api: ApiProcess) -> None:
    changes: dict[str, Any] = {"rules": []}
    api.kubectl("patch", "clusterrole", "view", "-p", json.dumps(changes))
    api.kubectl("delete", "clusterrole", "admin")
    api.kubectl("annotate", "--overwrite", "clusterrole", "edit", "rbac.authorization.kubernetes.io/autoupdate=false")
    api.kubectl("patch", "clusterrole", "edit", "-p", json.dumps(changes))
    api.kill()
    api.start()
    found = json.loads(api.kubectl("get", "clusterroles", "-o", "json"))["items"]
    rules = {item["metadata"]["name"]: item.get("rules") for item in found}
    assert rules == {name: None if name == "edit" else role["rules"] for name, role in ROLES.items()}
