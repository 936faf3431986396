"""Addresses and keys of the registry, per role, as environment variables: for people, the CLI, Pods and the controller."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from slipway.onebox.paths import Paths
from slipway.onebox.services.secrets import Secrets, ensure_secrets, write_private
from slipway.onebox.settings import HOST, Settings, load_settings

S3_ACCOUNT = "slipway"
S3_SCIENTIST = f"{S3_ACCOUNT}:scientist"
S3_REGION = "us-east-1"
CERTIFICATE = "secrets/api.crt"  # kubectl reads it relative to the kubeconfig
MLFLOW_ADMIN = "admin"
MLFLOW_READER = "slipway-reader"


@dataclass(frozen=True)
class Role:
    """Who somebody is to MLflow and to S3."""

    mlflow_user: str
    mlflow_password: str
    s3_user: str
    s3_key: str


def registrar(secrets: Secrets) -> Role:
    """May register model versions and write their files."""
    return Role(MLFLOW_ADMIN, secrets.mlflow_admin_password, f"{S3_ACCOUNT}:registrar", secrets.s3_registrar_key)


def reader(secrets: Secrets) -> Role:
    """May look versions up and read their files: what Pods and the controller get."""
    return Role(MLFLOW_READER, secrets.mlflow_reader_password, f"{S3_ACCOUNT}:reader", secrets.s3_reader_key)


def scientist(secrets: Secrets, *, mlflow_user: str, mlflow_password: str) -> Role:
    """May make models of their own and write their files: what a notebook gets."""
    return Role(mlflow_user, mlflow_password, S3_SCIENTIST, secrets.s3_scientist_key)


def render_credentials(settings: Settings, role: Role) -> dict[str, str]:
    """Environment variables; AWS_ENDPOINT_URL is boto3's name of the address, MLFLOW_S3_ENDPOINT_URL MLflow's."""
    s3 = s3_endpoint(settings)
    return {
        "AWS_ACCESS_KEY_ID": role.s3_user,
        "AWS_DEFAULT_REGION": S3_REGION,
        "AWS_ENDPOINT_URL": s3,
        "AWS_SECRET_ACCESS_KEY": role.s3_key,
        "MLFLOW_S3_ENDPOINT_URL": s3,
        "MLFLOW_TRACKING_PASSWORD": role.mlflow_password,
        "MLFLOW_TRACKING_URI": mlflow_endpoint(settings),
        "MLFLOW_TRACKING_USERNAME": role.mlflow_user,
    }


def s3_endpoint(settings: Settings) -> str:
    return f"http://{HOST}:{settings.s3_port}"


def mlflow_endpoint(settings: Settings) -> str:
    return f"http://{HOST}:{settings.mlflow_port}"


def gateway_endpoint(settings: Settings) -> str:
    return f"http://{HOST}:{settings.gateway_port}"


def hub_endpoint(settings: Settings) -> str:
    return f"http://{HOST}:{settings.hub_port}"


def api_endpoint(settings: Settings) -> str:
    return f"http://{HOST}:{settings.api_port}"


def api_server(settings: Settings) -> str:
    """As kubeconfigs name it: with TLS, because kubectl sends a token over nothing else."""
    return f"https://{HOST}:{settings.api_port}"


def load_model_credentials(paths: Paths) -> Mapping[str, str]:
    """What a registrar on this machine puts into its environment before it uses MLflow or S3.

    Raises:
        SettingsError: the settings file is broken.
    """
    return render_credentials(load_settings(paths.settings), registrar(ensure_secrets(paths.secrets)))


def render_env_file(variables: Mapping[str, str]) -> str:
    """Shell assignments, to be read with ``set -a; . FILE``."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))


def render_kubeconfig(settings: Settings, secrets: Secrets) -> dict[str, Any]:
    """Of the administrator."""
    cluster = {"server": api_server(settings), "certificate-authority": CERTIFICATE}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "slipway", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": secrets.api_token}}],
        "contexts": [{"name": "slipway", "context": {"cluster": "slipway", "user": "admin", "namespace": "default"}}],
        "current-context": "slipway",
    }


def write_access_files(paths: Paths, settings: Settings, secrets: Secrets) -> None:
    """``kubeconfig``, and ``mlflow.env`` with the gateway's address; readable by their owner only."""
    write_private(paths.kubeconfig, yaml.safe_dump(render_kubeconfig(settings, secrets), sort_keys=False))
    variables = {**render_credentials(settings, registrar(secrets)), "SLIPWAY_GATEWAY": gateway_endpoint(settings)}
    write_private(paths.mlflow_env, render_env_file(variables))
