"""What a team trains with: an account at MLflow, and the Secret of its namespace with that and the keys of S3.

The password is an HMAC of the platform's key, as those of the hub's users are, so that nothing has to remember it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.onebox.services.credentials import Role, scientist
from slipway.onebox.services.hub.accounts import derived_key, training_secret_of
from slipway.onebox.services.hub.names import namespace_of
from slipway.onebox.services.mlflow_accounts import ensure_account, remove_account
from slipway.onebox.services.secrets import Secrets
from slipway.onebox.settings import Settings

OF_HUB = namespace_of("")
"""How the namespaces of the hub's users begin."""


def mlflow_account(namespace: str) -> str:
    """A hub user's is the namespace's name; a team's begins otherwise: a team may have the name of any account."""
    return namespace if namespace.startswith(OF_HUB) else f"team-{namespace}"


def team_role(namespace: str, secrets: Secrets) -> Role:
    """May make models of its own and write their files, as a notebook may."""
    password = derived_key(secrets, f"mlflow/team/{namespace}")
    return scientist(secrets, mlflow_user=mlflow_account(namespace), mlflow_password=password)


async def ensure_team_account(namespace: str, settings: Settings, secrets: Secrets) -> Mapping[str, Any]:
    """Make the account, or give it its password again; the Secret that goes with it.

    Raises:
        AccountError: MLflow refuses.
        aiohttp.ClientError, TimeoutError: it does not answer.
    """
    role = team_role(namespace, secrets)
    await ensure_account(settings, secrets, user=role.mlflow_user, password=role.mlflow_password)
    return training_secret_of(namespace, settings, role)


async def remove_team_account(namespace: str, settings: Settings, secrets: Secrets) -> bool:
    """Whether there was one. Raises as ``ensure_team_account``."""
    return await remove_account(settings, secrets, user=mlflow_account(namespace))
