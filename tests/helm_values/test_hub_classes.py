"""The hub's settings in the real classes: none unknown, who gets in, and Pods that Kubernetes takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from slipway.onebox.services.credentials import reader, render_credentials
from slipway.onebox.services.hub.names import namespace_of
from slipway.onebox.services.hub.profiles import PROFILES
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import Settings
from tests.data import REPOSITORY
from tests.helm_values.charts import FOLDER, Values, defaults, load, merge
from tests.manifests.schemas import KUBERNETES, complain_of_kubernetes

pytestmark = [pytest.mark.conformance, pytest.mark.data]
PYTHON = REPOSITORY / ".venv-hub-cluster" / "bin" / "python"
PROGRAM = Path(__file__).with_name("hub_classes.py")
KUBECONFIG = {  # KubeSpawner reads one when it is made, and asks nobody
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": ""}}],
    "current-context": "none",
    "users": [],
}


def _told(values: Values, folder: Path) -> dict[str, Any]:
    assert PYTHON.exists(), f"{PYTHON} is missing: run tests/helm_values/environment"
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(KUBECONFIG))
    environment = {"KUBECONFIG": str(kubeconfig), "OAUTH_CLIENT_ID": "an-id", "OAUTH_CLIENT_SECRET": "a-secret"}
    given = json.dumps(merge(defaults("jupyterhub"), values))
    run = subprocess.run([PYTHON, PROGRAM], input=given, capture_output=True, check=False, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    return told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _told(load(FOLDER / "jupyterhub.yaml"), tmp_path_factory.mktemp("hub"))


def test_every_setting_is_one_of_its_class(told: dict[str, Any]) -> None:
    assert told["unknown"] == []


def test_key_of_google_comes_from_the_environment(told: dict[str, Any]) -> None:
    variables = load(FOLDER / "jupyterhub.yaml")["hub"]["extraEnv"]
    assert set(variables) == {"OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"}
    assert told["login"] == "an-id"


def test_nobody_gets_in_who_is_not_listed(told: dict[str, Any]) -> None:
    listed = load(FOLDER / "jupyterhub.yaml")["hub"]["config"]["Authenticator"]["allowed_users"]
    assert {name for name, is_in in told["people"].items() if is_in} == set(listed)
    assert {"eve", "ada-of-elsewhere", "unverified"} <= set(told["people"])


@pytest.mark.parametrize("profile", [*PROFILES, "gpu"])
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_the_pod(told: dict[str, Any], profile: str, version: str) -> None:
    assert not complain_of_kubernetes(told["pods"][profile], version)


def test_pod_acts_in_the_namespace_of_its_user(told: dict[str, Any], tmp_path: Path) -> None:
    namespace = namespace_of("ada")
    pod = told["pods"]["minimal"]
    (container,) = pod["spec"]["containers"]
    environment = {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}
    assert pod["spec"]["serviceAccountName"] == namespace
    assert environment["SLIPWAY_NAMESPACE"] == environment["POD_NAMESPACE"] == namespace
    assert environment["MLFLOW_TRACKING_USERNAME"] == namespace
    secrets = ensure_secrets(tmp_path / "secrets")
    on_one_machine = render_credentials(Settings(), reader(secrets))
    assert set(on_one_machine) <= set(environment)
    refs = {value["secretKeyRef"]["name"] for value in environment.values() if isinstance(value, dict)}
    assert refs == {namespace}


def test_pod_has_no_rights_on_its_node(told: dict[str, Any]) -> None:
    for pod in told["pods"].values():
        (container,) = pod["spec"]["containers"]
        allowed = container["securityContext"]
        assert allowed["runAsUser"] == 8888
        assert allowed["readOnlyRootFilesystem"]
        assert not allowed["allowPrivilegeEscalation"]
        assert allowed["capabilities"] == {"drop": ["ALL"]}
        assert not pod["spec"].get("initContainers")
        assert all("hostPath" not in volume for volume in pod["spec"]["volumes"])


def test_profiles_differ_where_they_say(told: dict[str, Any]) -> None:
    containers = {slug: pod["spec"]["containers"][0] for slug, pod in told["pods"].items()}
    assert {slug: container["image"] for slug, container in containers.items() if slug in PROFILES} == {
        slug: profile.tag for slug, profile in PROFILES.items()
    }
    assert "JAVA_HOME" in {item["name"] for item in containers["spark"]["env"]}
    assert "JAVA_HOME" not in {item["name"] for item in containers["minimal"]["env"]}
    assert containers["gpu"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert told["pods"]["gpu"]["spec"]["tolerations"]
    assert "tolerations" not in told["pods"]["minimal"]["spec"]


def test_setting_that_no_class_has_is_found(tmp_path: Path) -> None:
    wrong = {"hub": {"config": {"GoogleOAuthenticator": {"hosted_domains": ["example.org"]}}}}
    values = merge(load(FOLDER / "jupyterhub.yaml"), wrong)
    assert _told(values, tmp_path)["unknown"] == ["GoogleOAuthenticator.hosted_domains"]


def test_hub_without_a_list_lets_nobody_in_but_its_administrators(tmp_path: Path) -> None:
    values = merge(load(FOLDER / "jupyterhub.yaml"), {"hub": {"config": {"Authenticator": {"allowed_users": []}}}})
    people = _told(values, tmp_path)["people"]
    assert [name for name, is_in in people.items() if is_in] == ["ada"]
