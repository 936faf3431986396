"""The accounts MLflow has besides its admin: the reader that Pods and the controller use, and one per hub user."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import aiohttp

from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import MLFLOW_ADMIN, mlflow_endpoint, reader
from slipway.onebox.services.secrets import Secrets, ensure_secrets
from slipway.onebox.settings import Settings, load_settings

TIMEOUT = aiohttp.ClientTimeout(total=30)


class AccountError(Exception):
    """MLflow refused; the message carries its answer."""


async def ensure_account(settings: Settings, secrets: Secrets, *, user: str, password: str) -> None:
    """Create an account, or give it this password.

    Raises:
        AccountError: MLflow refuses.
    """
    admin = aiohttp.BasicAuth(MLFLOW_ADMIN, secrets.mlflow_admin_password)
    account = {"username": user, "password": password}
    async with aiohttp.ClientSession(mlflow_endpoint(settings), timeout=TIMEOUT, auth=admin) as session:
        found = await session.get("/api/2.0/mlflow/users/get", params={"username": user})
        if found.status == 404:
            answer = await session.post("/api/2.0/mlflow/users/create", json=account)
        elif found.status == 200:
            answer = await session.patch("/api/2.0/mlflow/users/update-password", json=account)
        else:
            answer = found
        await _refuse(answer)


async def remove_account(settings: Settings, secrets: Secrets, *, user: str) -> bool:
    """Delete an account; whether there was one. What it made stays.

    Raises:
        AccountError: MLflow refuses.
    """
    admin = aiohttp.BasicAuth(MLFLOW_ADMIN, secrets.mlflow_admin_password)
    async with aiohttp.ClientSession(mlflow_endpoint(settings), timeout=TIMEOUT, auth=admin) as session:
        answer = await session.delete("/api/2.0/mlflow/users/delete", json={"username": user})
        if answer.status == 404:
            return False
        await _refuse(answer)
        return True


async def _refuse(answer: aiohttp.ClientResponse) -> None:
    if answer.status != 200:
        raise AccountError(f"{answer.method} {answer.url.path}: HTTP {answer.status}: {(await answer.text())[:300]}")


async def ensure_reader(settings: Settings, secrets: Secrets) -> None:
    role = reader(secrets)
    await ensure_account(settings, secrets, user=role.mlflow_user, password=role.mlflow_password)


def main() -> int:
    """Make the accounts of MLflow, once it answers."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.mlflow_accounts", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    paths = Paths(parser.parse_args().home.absolute())
    try:
        asyncio.run(ensure_reader(load_settings(paths.settings), ensure_secrets(paths.secrets)))
    except (AccountError, aiohttp.ClientError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
