from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slipway.kube.kubeconfig import parse_kubeconfig
from slipway.onebox.services.hub.accounts import (
    account_of,
    notebook_environment,
    render_user_kubeconfig,
    token_secret,
)
from slipway.onebox.services.secrets import Secrets, ensure_secrets
from slipway.onebox.settings import Settings

MIN_MLFLOW_PASSWORD = 12


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return ensure_secrets(tmp_path / "secrets")


def test_keys_are_the_users_own_and_always_the_same(secrets: Secrets) -> None:
    ada = account_of("ada", secrets)
    assert ada == account_of("ada", secrets)
    bob = account_of("bob", secrets)
    keys = [ada.mlflow_password, ada.api_token, bob.mlflow_password, bob.api_token]
    assert len(set(keys)) == 4
    assert min(map(len, keys)) > MIN_MLFLOW_PASSWORD
    assert account_of("ada", replace(secrets, hub_user_key="another")).api_token != ada.api_token
    assert ada.api_token not in repr(ada)


def test_kubeconfig_is_of_the_users_namespace(secrets: Secrets) -> None:
    ada = account_of("ada", secrets)
    rendered = render_user_kubeconfig(ada, Settings(api_port=9001), certificate=b"PEM")
    access = parse_kubeconfig(rendered, origin=Path("config"))
    assert (access.server, access.namespace, access.token) == ("https://127.0.0.1:9001", "user-ada", ada.api_token)
    assert access.certificate_authority == "PEM"


def test_token_is_a_service_accounts_in_the_users_namespace(secrets: Secrets) -> None:
    ada = account_of("ada", secrets)
    secret = token_secret(ada)
    assert secret["type"] == "kubernetes.io/service-account-token"
    assert secret["metadata"]["namespace"] == "user-ada"
    assert secret["metadata"]["annotations"] == {"kubernetes.io/service-account.name": "tenant"}
    assert secret["stringData"] == {"token": ada.api_token}


def test_notebook_gets_its_own_keys_and_none_of_the_platforms(secrets: Secrets, tmp_path: Path) -> None:
    ada = account_of("ada", secrets)
    home = tmp_path / "ada"
    environment = notebook_environment(
        ada, Settings(gateway_port=9090), secrets, home=home, root=tmp_path / "root", search="/bin", mark="m"
    )
    assert environment["MLFLOW_TRACKING_USERNAME"] == "user-ada"
    assert environment["MLFLOW_TRACKING_PASSWORD"] == ada.mlflow_password
    assert environment["AWS_ACCESS_KEY_ID"] == "slipway:scientist"
    assert environment["KUBECONFIG"] == str(home / ".kube" / "config")
    assert environment["SLIPWAY_GATEWAY"] == "http://127.0.0.1:9090"
    foreign = {value for name, value in vars(secrets).items() if name != "s3_scientist_key"}
    assert foreign.isdisjoint(environment.values())
    assert "SLIPWAY_HOME" not in environment
