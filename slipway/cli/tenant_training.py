"""What a team trains with: made on one machine; on a cluster the commands that make it, where only you know the passwords."""

from __future__ import annotations

import json

import aiohttp

from slipway.cli.apply import apply_object
from slipway.cli.objects import Failure, Object
from slipway.kube.client import Kube
from slipway.kube.errors import ApiError
from slipway.kube.kinds import SECRET
from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import api_server
from slipway.onebox.services.hub.accounts import TRAINING_SECRET
from slipway.onebox.services.mlflow_accounts import AccountError
from slipway.onebox.services.secrets import Secrets, ensure_secrets
from slipway.onebox.services.teams import OF_HUB, ensure_team_account, mlflow_account, remove_team_account
from slipway.onebox.settings import Settings, load_settings

MADE_BY_HUB = "the hub makes both when the user's server first starts"
ANOTHERS = "SLIPWAY_HOME is not the home of this API, and has not its passwords"
AWAY = "MLflow does not answer: `slipway up --only mlflow`, then the same command again"
FILES = "build/secrets"
"""Where docs/kubernetes.md has the secrets of a cluster."""
USERS = "http://127.0.0.1:5000/api/2.0/mlflow/users"


async def give_training(kube: Kube, namespace: str, *, here: bool, dry_run: bool) -> list[str]:
    """What was done, or is to be done by whoever knows the passwords, line by line. Raises Failure where MLflow refuses."""
    both = f"MLflow account {mlflow_account(namespace)}, secret/{TRAINING_SECRET}"
    if not here:
        return [] if await _has_secret(kube, namespace) else to_give(namespace)
    if namespace.startswith(OF_HUB):
        return [f"{both} left out: {MADE_BY_HUB}"]
    if (home := _home_of(kube)) is None:
        return [f"{both} left out: {ANOTHERS}"]
    if dry_run:
        return [f"{both} would be there (dry run)"]
    try:
        secret: Object = dict(await ensure_team_account(namespace, *home))
    except AccountError as error:
        raise Failure(str(error)) from error
    except (aiohttp.ClientError, TimeoutError):
        return [f"{both} left out: {AWAY}"]
    applied = await apply_object(kube, secret, SECRET, namespace=namespace, dry_run=False)
    return [f"MLflow account {mlflow_account(namespace)} may log in", applied]


async def take_training(kube: Kube, namespace: str, *, here: bool) -> list[str]:
    """Before the namespace goes, with its Secret. Raises Failure, also where the account cannot be asked after."""
    name = mlflow_account(namespace)
    if not here:
        return [f"MLflow account {name}: where it is there, whoever administers MLflow deletes it: {deletion(name)}"]
    if (home := _home_of(kube)) is None:
        return [f"MLflow account {name} left as it is: {ANOTHERS}"]
    try:
        was_there = await remove_team_account(namespace, *home)
    except AccountError as error:
        raise Failure(str(error)) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Failure(f"nothing is deleted: MLflow account {name}: {AWAY}") from error
    return [f"MLflow account {name} deleted"] if was_there else []


def to_give(namespace: str) -> list[str]:
    """No password is in any of these commands: they are in files that only their owner reads."""
    name = mlflow_account(namespace)
    drawn = f"--user {namespace[len(OF_HUB) :]}" if namespace.startswith(OF_HUB) else f"--team {namespace}"
    return [
        f"MLflow account {name} and secret/{TRAINING_SECRET}, for training: only you know the passwords; with MLflow's port",
        "forwarded (kubectl -n slipway-system port-forward service/mlflow 5000) they are made by:",
        f"  python -m scripts.cluster_secrets {FILES} {drawn}",
        f"  {_as_administrator(f'--data @{FILES}/{name}.json', 'create')}",
        f"  kubectl -n {namespace} create secret generic {TRAINING_SECRET} --from-env-file={FILES}/{name}.env",
    ]


def deletion(name: str) -> str:
    """The command."""
    data = json.dumps({"username": name})
    return _as_administrator(f"--request DELETE --data '{data}'", "delete")


def _as_administrator(words: str, path: str) -> str:
    login = f'curl --netrc-file {FILES}/mlflow.netrc --header "Content-Type: application/json"'
    return f"{login} {words} {USERS}/{path}"


async def _has_secret(kube: Kube, namespace: str) -> bool:
    """Who may not look is told how it is made."""
    try:
        await kube.get(SECRET, TRAINING_SECRET, namespace=namespace)
    except ApiError:
        return False
    return True


def _home_of(kube: Kube) -> tuple[Settings, Secrets] | None:
    """Of the platform whose API this is; None where SLIPWAY_HOME is another's."""
    paths = Paths.from_env()
    if not paths.secrets.is_dir():
        return None
    settings = load_settings(paths.settings)
    return (settings, ensure_secrets(paths.secrets)) if kube.access.server == api_server(settings) else None
