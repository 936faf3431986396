"""Everything one hub user needs before the server starts; the last line of output says what to start."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from slipway.kube.client import Kube
from slipway.kube.errors import KubeError
from slipway.onebox.images.build import PLATFORM_ROOT, build
from slipway.onebox.images.errors import ImageError, NotBuilt
from slipway.onebox.images.reference import parse_reference
from slipway.onebox.images.store import Image, Store
from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import CERTIFICATE
from slipway.onebox.services.folders import HomeError
from slipway.onebox.services.hub.accounts import (
    Account,
    account_of,
    notebook_environment,
    render_user_kubeconfig,
    token_secret,
    training_secret,
)
from slipway.onebox.services.hub.homes import ensure_home, write_kubeconfig
from slipway.onebox.services.hub.identity import Identity, ensure_identity, ensure_unix_user, first_closed
from slipway.onebox.services.hub.names import FAILED, MAX_USER, READY, USER_PATTERN, server_mark
from slipway.onebox.services.hub.ownership import open_folders
from slipway.onebox.services.hub.profiles import DEFAULT, Profile, UnknownProfileError, find_profile
from slipway.onebox.services.hub.running import Running, write_running
from slipway.onebox.services.hub.tenant import in_namespace, load_tenant
from slipway.onebox.services.mlflow_accounts import AccountError, ensure_account
from slipway.onebox.services.secrets import Secrets, ensure_secrets
from slipway.onebox.settings import Settings, SettingsError, load_settings
from slipway.onebox.supervisor.procfs import descendants

COMMANDS = Path("slipway", "onebox", "services", "hub", "bin")  # below the image root
FIELD_MANAGER = "slipway-hub"
FIRST_FOLDERS = (PLATFORM_ROOT / "notebooks", PLATFORM_ROOT / "training")  # what a new home has
GIVEN_UP = 128 + signal.SIGTERM
KNOWN_ERRORS = (
    ImageError,
    KubeError,
    AccountError,
    HomeError,
    SettingsError,
    UnknownProfileError,
    aiohttp.ClientError,
    OSError,  # such as a full disk
)


@dataclass(frozen=True)
class Launch:
    """What the hub starts. ``identity`` is arguments of `subprocess.Popen`; empty: the platform's own user."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    identity: Mapping[str, Any]


def prepare(paths: Paths, user: str, profile: Profile, *, memory_bytes: int) -> Launch:
    """Image, namespace, accounts and home of one user; each is made once and left as it is afterwards.

    Raises:
        one of KNOWN_ERRORS: something is missing or refuses.
    """
    if not re.match(USER_PATTERN, user):
        raise HomeError(
            f"{user!r}: a hub user's name is lower-case letters, digits and single hyphens, at most {MAX_USER}"
        )
    settings, secrets = load_settings(paths.settings), ensure_secrets(paths.secrets)
    say(f"profile {profile.title}: {profile.contents}")
    build(profile.tag, paths=paths, repository=PLATFORM_ROOT, progress=say)
    store = Store(paths)
    image = store.resolve(profile.tag)
    write_running(paths, Running(user, image.digest, memory_bytes))  # from here on it is not pruned
    if store.find(image.digest) is None:
        raise NotBuilt(profile.tag, parse_reference(profile.tag).build_command)
    account = account_of(user, secrets)
    say(f"namespace {account.namespace}, MLflow account {account.namespace}")
    asyncio.run(_grant(paths, account, settings, secrets))
    owner = _owner(paths, user, first=settings.hub_first_uid, store=store, image=image)
    home = paths.hub_home(user)
    ensure_home(home, owner=owner, first_folders=FIRST_FOLDERS)
    certificate = (paths.home / CERTIFICATE).read_bytes()
    write_kubeconfig(home, render_user_kubeconfig(account, settings, certificate=certificate), owner=owner)
    root, environment = store.root(image), store.environment(image)
    variables = notebook_environment(
        account,
        settings,
        secrets,
        home=home,
        root=root,
        search=_search_path(root, environment, everybody=owner is not None),
        mark=server_mark(paths, user),
    )
    own = profile.environment(root=root, environment=environment)
    say("starting JupyterLab")
    return Launch(image.entrypoint, {**variables, **own, **image.env}, str(home), _popen_identity(owner))


async def _grant(paths: Paths, account: Account, settings: Settings, secrets: Secrets) -> None:
    """The user's namespace with its Role and its Secrets, and the account at MLflow."""
    own = (token_secret(account), training_secret(account, settings, secrets))
    async with Kube.from_kubeconfig(paths.kubeconfig, user_agent=FIELD_MANAGER) as kube:
        for item in (*in_namespace(load_tenant(), account.namespace), *own):
            await kube.apply(item, field_manager=FIELD_MANAGER)
    await ensure_account(settings, secrets, user=account.namespace, password=account.mlflow_password)


def _owner(paths: Paths, user: str, *, first: int, store: Store, image: Image) -> Identity | None:
    if os.getuid() != 0:
        return None
    owner = ensure_identity(paths, user, first=first)
    ensure_unix_user(owner, user, home=paths.hub_home(user))
    open_folders(paths, gid=first, images=(store.root(image), store.environment(image)))
    return owner


def _search_path(root: Path, environment: Path, *, everybody: bool) -> str:
    """The `slipway` command, the image's programs, then the machine's (kubectl); folders of root's own only for root."""
    machine = [Path(item) for item in os.environ.get("PATH", os.defpath).split(os.pathsep) if item]
    open_ones = [item for item in machine if item.is_dir() and not (everybody and first_closed((item, *item.parents)))]
    return os.pathsep.join(map(str, (root / COMMANDS, environment / "bin", *open_ones)))


def _popen_identity(owner: Identity | None) -> dict[str, Any]:
    return {} if owner is None else {"user": owner.uid, "group": owner.uid, "extra_groups": [owner.shared_gid]}


def _in_words(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"the platform could not make your server ready: {place}{error.strerror}; tell whoever runs it"
    return str(error) or type(error).__name__


def say(line: str) -> None:
    print(line, flush=True)


def end_children() -> None:
    """What was being started when the signal came: `subprocess` ends only what it had started."""
    for pid in descendants(os.getpid()) - {os.getpid()}:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # gone, or a child's child
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def main() -> int:
    """Make a hub user ready for a server, and say what to start."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.hub.prepare", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    parser.add_argument("--user", required=True)
    parser.add_argument("--profile", default=DEFAULT)
    parser.add_argument("--memory-bytes", type=int, default=0, help="what the server may use; 0: no limit")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(GIVEN_UP))  # so that what it started ends with it
    try:
        paths = Paths(given.home.absolute())
        launch = prepare(paths, given.user, find_profile(given.profile or DEFAULT), memory_bytes=given.memory_bytes)
    except KNOWN_ERRORS as error:
        say(FAILED + json.dumps(_in_words(error)))
        return 1
    finally:
        end_children()
    say(READY + json.dumps(asdict(launch)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
