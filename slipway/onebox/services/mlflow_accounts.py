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

TIMEOUT_S = 30.0
"""For all that is asked about an account. Not aiohttp's `total`, which may lose a cancellation that comes with it."""


class AccountError(Exception):
    """MLflow refused; the message carries its answer."""


async def ensure_account(settings: Settings, secrets: Secrets, *, user: str, password: str) -> None:
    """Create an account, or give it this password.

    Raises:
        AccountError: MLflow refuses.
    """
    account = {"username": user, "password": password}
    async with asyncio.timeout(TIMEOUT_S), _as_admin(settings, secrets) as session:
        async with session.get("/api/2.0/mlflow/users/get", params={"username": user}) as found:
            if found.status not in (200, 404):
                await _refuse(found)
            is_there = found.status == 200
        write, path = (session.patch, "update-password") if is_there else (session.post, "create")
        async with write(f"/api/2.0/mlflow/users/{path}", json=account) as answer:
            await _refuse(answer)


async def remove_account(settings: Settings, secrets: Secrets, *, user: str) -> bool:
    """Delete an account; whether there was one. What it made stays.

    Raises:
        AccountError: MLflow refuses.
    """
    delete = "/api/2.0/mlflow/users/delete"
    async with (
        asyncio.timeout(TIMEOUT_S),
        _as_admin(settings, secrets) as session,
        session.delete(delete, json={"username": user}) as answer,
    ):
        if answer.status != 404:
            await _refuse(answer)
        return answer.status != 404


def _as_admin(settings: Settings, secrets: Secrets) -> aiohttp.ClientSession:
    login = aiohttp.encode_basic_auth(MLFLOW_ADMIN, secrets.mlflow_admin_password)
    timeout = aiohttp.ClientTimeout(total=None)
    return aiohttp.ClientSession(mlflow_endpoint(settings), timeout=timeout, headers={"Authorization": login})


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
