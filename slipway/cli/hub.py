"""``slipway hub``: the users of the hub of this machine."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import click

from slipway.cli.usage import Written
from slipway.kube.errors import KubeError
from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import HomeError
from slipway.onebox.services.hub.names import MAX_USER, USER_PATTERN
from slipway.onebox.services.hub.removal import refuse_user_who_may_log_in, remove_user
from slipway.onebox.services.mlflow_accounts import AccountError

KNOWN_ERRORS = (HomeError, KubeError, AccountError, aiohttp.ClientError, TimeoutError)
USER = Written(
    "USER",
    re.compile(USER_PATTERN),
    f"a user's name begins with a-z and has a-z, 0-9 and single '-' inside, {MAX_USER} characters at most",
)


@click.group("hub")
def hub_command() -> None:
    """Users of the hub.

    \b
    Example:
      slipway hub remove ada
    """  # noqa: D301  - click reads the backspace character


@hub_command.command("remove")
@click.argument("user", type=USER)
@click.option("--keep-home", is_flag=True, help="Leave the files of the home.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_command(user: str, *, keep_home: bool, yes: bool) -> None:
    """Take away what a hub user had: namespace, keys, MLflow account, home, Unix user.

    The user must be shut out at the hub first. Whatever runs in the namespace ends. Runs and models stay in MLflow and S3.

    \b
    Examples:
      slipway hub remove ada
      slipway hub remove ada --keep-home --yes
    """  # noqa: D301  - click reads the backspace character
    paths = Paths.from_env()
    try:
        refuse_user_who_may_log_in(paths, user)
        if not yes:
            click.confirm(
                f"Delete the namespace user-{user} with all that runs in it, and the keys of {user}?", abort=True
            )
        asyncio.run(_remove(paths, user, keeps_home=keep_home))
    except KNOWN_ERRORS as error:
        raise click.ClickException(str(error) or type(error).__name__) from error


async def _remove(paths: Paths, user: str, *, keeps_home: bool) -> None:
    async for line in remove_user(paths, user, keeps_home=keeps_home):
        click.echo(line)
