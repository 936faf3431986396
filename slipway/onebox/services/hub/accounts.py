"""A hub user's keys, and what they become: a kubeconfig and the environment of a notebook."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.onebox.runner.marks import MARK
from slipway.onebox.services.credentials import Role, api_server, gateway_endpoint, render_credentials, scientist
from slipway.onebox.services.hub.names import SERVICE_ACCOUNT, namespace_of
from slipway.onebox.services.secrets import Secrets
from slipway.onebox.settings import Settings

TOKEN_SECRET = f"{SERVICE_ACCOUNT}-token"
TRAINING_SECRET = "slipway-training"  # noqa: S105  - a Secret's name


@dataclass(frozen=True)
class Account:
    """One hub user to the other parts. The keys are made from the platform's, so that nothing has to remember them."""

    user: str
    mlflow_password: str = field(repr=False)
    api_token: str = field(repr=False)

    @property
    def namespace(self) -> str:
        return namespace_of(self.user)

    def role(self, secrets: Secrets) -> Role:
        return scientist(secrets, mlflow_user=self.namespace, mlflow_password=self.mlflow_password)


def account_of(user: str, secrets: Secrets) -> Account:
    return Account(user, derived_key(secrets, f"mlflow/{user}"), derived_key(secrets, f"api/{user}"))


def derived_key(secrets: Secrets, purpose: str) -> str:
    """HMAC-SHA256 of the purpose under the hub's user key, in 43 URL-safe characters."""
    digest = hmac.digest(secrets.hub_user_key.encode(), purpose.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def render_user_kubeconfig(account: Account, settings: Settings, *, certificate: bytes) -> dict[str, Any]:
    """With the certificate inside, because the user cannot read the platform's files."""
    cluster = {
        "server": api_server(settings),
        "certificate-authority-data": base64.b64encode(certificate).decode(),
    }
    context = {"cluster": "slipway", "user": SERVICE_ACCOUNT, "namespace": account.namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "slipway", "cluster": cluster}],
        "users": [{"name": SERVICE_ACCOUNT, "user": {"token": account.api_token}}],
        "contexts": [{"name": "slipway", "context": context}],
        "current-context": "slipway",
    }


def notebook_environment(
    account: Account, settings: Settings, secrets: Secrets, *, home: Path, root: Path, search: str, mark: str
) -> dict[str, str]:
    """What a user's server and its kernels get. ``root`` is the image's, ``search`` their PATH."""
    return {
        **render_credentials(settings, account.role(secrets)),
        "HOME": str(home),
        "KUBECONFIG": str(kubeconfig_of(home)),
        "LOGNAME": account.user,
        "MPLCONFIGDIR": str(home / ".cache" / "matplotlib"),
        "PATH": search,
        "PYTHONPATH": str(root),
        "SHELL": "/bin/bash",
        "SLIPWAY_GATEWAY": gateway_endpoint(settings),
        "SLIPWAY_NAMESPACE": account.namespace,
        "USER": account.user,
        MARK: mark,
    }


def kubeconfig_of(home: Path) -> Path:
    return home / ".kube" / "config"


def training_secret(account: Account, settings: Settings, secrets: Secrets) -> Mapping[str, Any]:
    """What a training Job of the user's reads its keys from (training/job.yaml): the user's own."""
    return training_secret_of(account.namespace, settings, account.role(secrets))


def training_secret_of(namespace: str, settings: Settings, role: Role) -> Mapping[str, Any]:
    """The same for whoever has this role."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": TRAINING_SECRET, "namespace": namespace},
        "type": "Opaque",
        "stringData": render_credentials(settings, role),
    }


def token_secret(account: Account) -> Mapping[str, Any]:
    """The service account's token, as a cluster's token controller would write it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": TOKEN_SECRET,
            "namespace": account.namespace,
            "annotations": {"kubernetes.io/service-account.name": SERVICE_ACCOUNT},
        },
        "type": "kubernetes.io/service-account-token",
        "stringData": {"token": account.api_token},
    }
