"""What the doctor looks for is what kubernetes/ and mlflow/ install."""

from __future__ import annotations

from typing import Any

import yaml

from slipway.doctor.checks import controller, gateway, permissions, storage, webhook
from slipway.doctor.question import SYSTEM
from tests.data import REPOSITORY

KUBERNETES = REPOSITORY / "kubernetes"


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((KUBERNETES / name).read_text())
    return found


def test_the_controller_is_looked_for_where_it_is_installed() -> None:
    assert manifest("controller/kustomization.yaml")["namespace"] == SYSTEM
    assert manifest("controller/deployment.yaml")["metadata"]["name"] == controller.THE_DEPLOYMENT.name
    rules = manifest("controller/role.yaml")["rules"]
    leases = [name for rule in rules if "leases" in rule["resources"] for name in rule.get("resourceNames", ())]
    assert leases == [controller.THE_LEASE.name]
    account = manifest("controller/serviceaccount.yaml")["metadata"]["name"]
    assert f"system:serviceaccount:{SYSTEM}:{account}" == permissions.CONTROLLER


def test_the_permissions_that_are_asked_for_are_those_of_its_role() -> None:
    wanted = {
        (group, resource, verb, name)
        for rule in manifest("controller/clusterrole.yaml")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }
    asked = {(item.group, item.resource, item.verb, item.name) for item in permissions._of_controller("x")}
    assert asked == wanted


def test_the_webhook_is_known_by_its_service_and_its_secret() -> None:
    configuration = manifest("webhook/validatingwebhookconfiguration.yaml")
    assert len(webhook._ours(configuration)) == len(configuration["webhooks"])
    assert manifest("webhook/secret.yaml")["metadata"]["name"] == webhook.PAIR.name


def test_the_gateway_is_the_one_of_istio() -> None:
    gate = yaml.safe_load((REPOSITORY / "istio" / "base" / "gateway.yaml").read_text())
    assert gate["spec"]["selector"] == gateway.USUAL
    found = gate["metadata"]
    assert (found["namespace"], found["name"]) == (gateway.THE_GATEWAY.namespace, gateway.THE_GATEWAY.name)


def test_the_secret_of_models_is_the_one_that_the_controller_copies() -> None:
    assert storage.NAME == permissions.COPIED
