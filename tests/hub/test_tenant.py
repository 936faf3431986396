"""The YAML that a cluster applies and the hub's objects are the same."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.onebox.services.hub.names import SERVICE_ACCOUNT
from slipway.onebox.services.hub.tenant import FOLDER, in_namespace, load_tenant

NAMESPACE = "user-ada"
READ = {"get", "list", "watch"}
OWN = {"seldondeployments", "seldondeployments/scale", "jobs", "configmaps"}


@pytest.fixture
def objects() -> dict[str, dict[str, Any]]:
    return {item["kind"]: item for item in in_namespace(load_tenant(), NAMESPACE)}


def test_objects_are_what_kustomize_makes(tmp_path: Path) -> None:
    base = tmp_path / "tenant"
    base.mkdir()
    for file in FOLDER.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["tenant"], "namespace": NAMESPACE}))
    built = subprocess.run(["kubectl", "kustomize", str(tmp_path)], check=True, capture_output=True, text=True).stdout
    by_kind = {item["kind"]: item for item in yaml.safe_load_all(built)}
    assert by_kind == {item["kind"]: item for item in in_namespace(load_tenant(), NAMESPACE)}


def test_everything_lies_in_the_namespace(objects: dict[str, dict[str, Any]]) -> None:
    assert list(objects) == ["Namespace", "ServiceAccount", "Role", "RoleBinding"]
    assert objects.pop("Namespace")["metadata"]["name"] == NAMESPACE
    assert {item["metadata"]["namespace"] for item in objects.values()} == {NAMESPACE}
    (subject,) = objects["RoleBinding"]["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": NAMESPACE}


def test_role_writes_what_is_the_users_and_cannot_widen_itself(objects: dict[str, dict[str, Any]]) -> None:
    rules = objects["Role"]["rules"]
    resources = {name for rule in rules for name in rule["resources"]}
    assert resources.isdisjoint({"*", "secrets", "roles", "rolebindings", "serviceaccounts", "serviceaccounts/token"})
    verbs = {verb for rule in rules for verb in rule["verbs"]}
    assert verbs.isdisjoint({"*", "bind", "escalate", "impersonate"})
    written = {name for rule in rules if set(rule["verbs"]) - READ for name in rule["resources"]}
    assert written == OWN
