"""Whatever one object names is made: ports, accounts, roles, settings, what is scaled."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from scripts.cluster_secrets import platform_files
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.data import REPOSITORY
from tests.manifests.cluster import TEAMS, team
from tests.manifests.kustomizations import built
from tests.manifests.references import accounts_missing, key_of, ports_missing, settings_missing, targets_missing

Object = dict[str, Any]
SYSTEM = "slipway-system"
DRAWN = frozenset(("Secret", SYSTEM, name.partition(".")[0]) for name in platform_files(lambda: "drawn"))
OF_OTHERS = frozenset({("Secret", SYSTEM, "mlflow-db-app")})
"""CloudNativePG makes it with the database."""
OF_TENANTS = frozenset({("Secret", "default", name) for name in ("slipway-model-storage", "slipway-training")})
"""The controller copies the first, the page on Kubernetes draws the second for who trains."""
PLATFORM = ("kubernetes", "mlflow/overlays/cnpg", "monitoring/kubernetes")
MODELS = sorted(path.parent.name for path in (REPOSITORY / "seldon" / "overlays").glob("*/kustomization.yaml"))
OTHERS = (
    "kubernetes/overlays/beside-seldon-core",
    "kubernetes/overlays/keda",
    "mlflow/base",
    "mlflow/overlays/dev",
    "mlflow/overlays/external-secrets",
    "seldon/plain/yolo",
    "seldon/tenant",
    "istio/overlays/tenant",
)
CERTIFICATE = ("Secret", SYSTEM, "slipway-webhook-certificate")


def platform() -> list[Object]:
    return [item for folder in PLATFORM for item in built(REPOSITORY / folder)]


def predictors(folder: str) -> Iterator[Object]:
    """What a folder applies, and what the controller makes of it."""
    for item in built(REPOSITORY / folder):
        yield item
        if item["kind"] == "SeldonDeployment":
            yield from desired(SeldonDeployment.from_json(item), Facts())


def all_complaints(objects: list[Object]) -> list[str]:
    return [
        *ports_missing(objects),
        *accounts_missing(objects),
        *targets_missing(objects),
        *settings_missing(objects, DRAWN | OF_OTHERS | OF_TENANTS),
    ]


def test_whatever_the_platform_names_is_made() -> None:
    assert "\n".join(all_complaints(platform())) == ""


@pytest.mark.parametrize("name", MODELS)
def test_whatever_a_predictor_names_is_made(name: str) -> None:
    assert "\n".join(all_complaints(list(predictors(f"seldon/overlays/{name}")))) == ""


@pytest.mark.parametrize("folder", OTHERS)
def test_whatever_another_overlay_names_is_made(folder: str) -> None:
    assert "\n".join(all_complaints(built(REPOSITORY / folder))) == ""


def test_cert_manager_makes_the_certificate_that_is_mounted() -> None:
    objects = built(REPOSITORY / "kubernetes/overlays/cert-manager")
    written = {
        ("Secret", item["metadata"]["namespace"], item["spec"]["secretName"])
        for item in objects
        if item["kind"] == "Certificate"
    }
    assert CERTIFICATE in written
    assert settings_missing(objects, DRAWN | written) == []


@pytest.mark.parametrize("name", TEAMS)
def test_a_team_s_bindings_are_of_its_own(name: str) -> None:
    assert "\n".join(accounts_missing(team(name))) == ""


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_training_reads_what_is_drawn_for_who_trains(device: str) -> None:
    objects = [
        {**item, "metadata": {**item["metadata"], "namespace": "default"}}
        for item in built(REPOSITORY / "kubernetes/training" / device)
    ]
    tenant = [{"kind": "ServiceAccount", "metadata": {"name": "tenant", "namespace": "default"}}]
    assert "\n".join(all_complaints([*objects, *tenant])) == ""


def changed(objects: list[Object], kind: str, name: str, path: str, value: object) -> list[Object]:
    """A copy with one field of one object written anew; ``path`` by dots, numbers count in lists."""
    copy = deepcopy(objects)
    below: Any
    (below,) = [item for item in copy if key_of(item)[::2] == (kind, name)]
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        below = below[part]
    assert below[last] != value
    below[last] = value
    return copy


POD = "spec.template.spec"


@pytest.mark.parametrize(
    ("kind", "name", "path", "value", "said"),
    [
        ("Service", "slipway-controller", "spec.ports.0.targetPort", "metricz", "has the port metricz"),
        ("Service", "mlflow", "spec.ports.0.targetPort", 5001, "has the port 5001"),
        ("ServiceMonitor", "slipway-controller", "spec.endpoints.0.port", "http", "has the port http"),
        ("ValidatingWebhookConfiguration", "slipway-webhook", "webhooks.0.clientConfig.service.name", "x", "x has the"),
        ("ClusterRoleBinding", "slipway-controller", "subjects.0.name", "x", f"ServiceAccount {SYSTEM}/x"),
        ("ClusterRoleBinding", "slipway-controller", "subjects.0.namespace", "x", "ServiceAccount x/slipway-contr"),
        ("ClusterRoleBinding", "slipway-webhook", "roleRef.name", "x", "ClusterRole /x"),
        ("RoleBinding", "slipway-webhook", "roleRef.name", "x", f"Role {SYSTEM}/x"),
        ("Deployment", "mlflow", f"{POD}.serviceAccountName", "x", f"ServiceAccount {SYSTEM}/x"),
        ("Deployment", "mlflow", f"{POD}.containers.0.envFrom", [{"configMapRef": {"name": "mlflow-settingz"}}], "gz"),
        (
            "Deployment",
            "mlflow",
            f"{POD}.volumes",
            [{"name": "a", "configMap": {"name": "x"}}],
            f"ConfigMap {SYSTEM}/x",
        ),
        (
            "Deployment",
            "mlflow",
            f"{POD}.volumes",
            [{"name": "a", "secret": {"secretName": "x"}}],
            f"Secret {SYSTEM}/x",
        ),
        (
            "Deployment",
            "mlflow",
            f"{POD}.containers.0.env",
            [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y", "optional": True}}}],
            f"Secret {SYSTEM}/x",
        ),
    ],
)
def test_what_hangs_in_the_air_is_found(kind: str, name: str, path: str, value: object, said: str) -> None:
    found = all_complaints(changed(platform(), kind, name, path, value))
    assert found
    assert all(item.startswith(f"{kind} {name}: ") for item in found)
    assert any(said in item for item in found)


def test_an_autoscaler_of_nothing_is_found() -> None:
    objects = list(predictors("seldon/overlays/autoscale-vpa"))
    name = "yolo-stable-0-image-transformer-yolo-detector"
    found = targets_missing(changed(objects, "VerticalPodAutoscaler", name, "spec.targetRef.name", "x"))
    assert found == [f"VerticalPodAutoscaler {name}: nothing makes Deployment default/x"]


@pytest.mark.parametrize(
    ("folder", "kind"), [("autoscale-cpu", "HorizontalPodAutoscaler"), ("autoscale-keda", "ScaledObject")]
)
def test_autoscalers_that_the_controller_makes_are_looked_at(folder: str, kind: str) -> None:
    objects = list(predictors(f"seldon/overlays/{folder}"))
    (name,) = [item["metadata"]["name"] for item in objects if item["kind"] == kind]
    assert len(targets_missing(changed(objects, kind, name, "spec.scaleTargetRef.name", "x"))) == 1


def test_database_of_one_instance_lets_its_node_be_drained() -> None:
    """CloudNativePG guards the primary by a PodDisruptionBudget: https://cloudnative-pg.io/documentation/current/kubernetes_upgrade/."""
    of = {
        name: next(item["spec"] for item in built(REPOSITORY / "mlflow/overlays" / name) if item["kind"] == "Cluster")
        for name in ("cnpg", "dev")
    }
    assert (of["dev"]["instances"], of["dev"].get("enablePDB")) == (1, False)
    assert (of["cnpg"]["instances"], of["cnpg"].get("enablePDB", True)) == (2, True)
