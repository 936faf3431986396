"""What is left of a hub user, taken away: keys and rights first, then files, then the Unix user."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import NAMESPACE, SECRET
from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import HomeError
from slipway.onebox.services.hub.accounts import TOKEN_SECRET
from slipway.onebox.services.hub.identity import Identity, load_numbers, remove_unix_user
from slipway.onebox.services.hub.names import namespace_of
from slipway.onebox.services.hub.servers import end_server
from slipway.onebox.services.mlflow_accounts import remove_account
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import load_settings

DATABASE_WITHIN_S = 5.0


def refuse_user_who_may_log_in(paths: Paths, user: str) -> None:
    """Whoever may log in gets everything again with the next server.

    Raises:
        HomeError: the hub has let the user in; or nothing is known of the user.
    """
    homes = {home.name for home in paths.hub_homes.glob("[a-z]*/")}
    known = homes | load_numbers(paths).keys()
    if user not in known:  # also a name that is a path
        raise HomeError(
            f"{user}: nobody of that name had a server here; there are {', '.join(sorted(known)) or 'none'}"
        )
    if user in _let_in(paths):
        raise HomeError(f"{user} may log in at the hub: press `Shut out` on its page Authorize Users first")


def _let_in(paths: Paths) -> frozenset[str]:
    """Whom the hub's own authenticator lets in; another one's people are not known here."""
    file = paths.data("hub") / "jupyterhub.sqlite"
    if not file.exists():
        return frozenset()
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=DATABASE_WITHIN_S)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'users_info'").fetchall():
            return frozenset()
        return frozenset(name for (name,) in database.execute("SELECT username FROM users_info WHERE is_authorized"))


def earlier_claims(paths: Paths, namespace: str) -> list[Path]:
    """Volumes of releases that kept them without a claim: ``<namespace>_<claim>``. Others go with their claims."""
    return [path for path in sorted(paths.data("claims").glob(f"{namespace}_*")) if path.name.count("_") == 1]


async def remove_user(paths: Paths, user: str, *, keeps_home: bool) -> AsyncIterator[str]:
    """What was done, line by line. Runs and models stay in MLflow and S3; the user number is never given again.

    Raises:
        HomeError: as ``refuse_user_who_may_log_in``, or the Unix user cannot be removed.
        KubeError, AccountError, aiohttp.ClientError: the API or MLflow does not do it; a second call goes on.
    """
    refuse_user_who_may_log_in(paths, user)
    end_server(paths, user)
    namespace = namespace_of(user)
    async with Kube.from_kubeconfig(paths.kubeconfig, user_agent="slipway-hub") as kube:
        with suppress(NotFound):  # first, because a namespace ends only when all in it has
            await kube.delete(SECRET, TOKEN_SECRET, namespace=namespace)
        try:
            await kube.delete(NAMESPACE, namespace)
        except NotFound:
            yield f"namespace {namespace}: is not there"
        else:
            yield f"namespace {namespace}: deleted, with the token and what ran in it"
    was_there = await remove_account(load_settings(paths.settings), ensure_secrets(paths.secrets), user=namespace)
    yield f"MLflow account {namespace}: {'deleted' if was_there else 'is not there'}"
    for folder in earlier_claims(paths, namespace):
        shutil.rmtree(folder)
        yield f"volume {folder}: deleted"
    home = paths.hub_home(user)
    if not keeps_home and home.exists():
        shutil.rmtree(home)
        yield f"home {home}: deleted"
    if os.getuid() == 0 and (number := load_numbers(paths).get(user)) is not None:
        identity = Identity(number, number)
        yield f"Unix user {identity.login}: {'deleted' if remove_unix_user(identity) else 'is not there'}"
