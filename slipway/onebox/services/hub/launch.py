"""Becomes JupyterHub or its proxy: their programs, their secrets in the environment, never in a command line."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from slipway.onebox.images.errors import ImageError
from slipway.onebox.paths import Paths
from slipway.onebox.runner.marks import MARK
from slipway.onebox.services.credentials import hub_endpoint
from slipway.onebox.services.hub.names import SERVICES, service_mark
from slipway.onebox.services.hub.profiles import render_form
from slipway.onebox.services.hub.programs import Programs, find_image, find_programs
from slipway.onebox.services.hub.running import HUB_ITSELF, Running, write_running
from slipway.onebox.services.hub.servers import end_services
from slipway.onebox.services.secrets import Secrets, ensure_secrets
from slipway.onebox.settings import HOST, Settings, load_settings

NOT_THE_HUBS = {"PYTHONPATH": ""}
"""The memory watch is a program of the platform's, which has an interpreter of its own."""


def proxy_argv(programs: Programs, settings: Settings) -> list[str]:
    public = ("--ip", HOST, "--port", str(settings.hub_port))
    orders = ("--api-ip", HOST, "--api-port", str(settings.hub_proxy_port))
    return [str(programs.node), str(programs.proxy), *public, *orders, "--log-level", "warn"]


def proxy_environment(secrets: Secrets) -> dict[str, str]:
    return {"CONFIGPROXY_AUTH_TOKEN": secrets.hub_proxy_token, "NODE_ENV": "production"}


def hub_argv(programs: Programs) -> list[str]:
    return [str(programs.python), "-m", "jupyterhub", "-f", str(programs.root / "jupyterhub_config.py")]


def hub_environment(programs: Programs, paths: Paths, settings: Settings, secrets: Secrets) -> dict[str, str]:
    """What jupyterhub_config.py reads; names of JupyterHub's own where it has them."""
    options = {
        "bind_url": hub_endpoint(settings),
        "hub_port": settings.hub_server_port,
        "database": str(paths.data("hub") / "jupyterhub.sqlite"),
        "proxy_url": f"http://{HOST}:{settings.hub_proxy_port}",
        "prepare": [sys.executable, "-m", "slipway.onebox.services.hub.prepare", "--home", str(paths.home)],
        "end": [sys.executable, "-m", "slipway.onebox.services.hub.servers", "--home", str(paths.home)],
        "form": render_form(),
        "own_config": str(paths.hub_config) if paths.hub_config.exists() else "",
        "memory_watch": [sys.executable, "-m", "slipway.onebox.services.hub.watch", "--home", str(paths.home)],
        "environments": {name: {MARK: service_mark(paths, name), **NOT_THE_HUBS} for name in SERVICES},
    }
    return {
        "CONFIGPROXY_AUTH_TOKEN": secrets.hub_proxy_token,
        "JPY_COOKIE_SECRET": hashlib.sha256(secrets.hub_cookie_key.encode()).hexdigest(),
        "JUPYTERHUB_CRYPT_KEY": hashlib.sha256(secrets.hub_crypt_key.encode()).hexdigest(),
        "PYTHONPATH": str(programs.root),
        "SLIPWAY_HUB_ADMIN_PASSWORD": secrets.hub_admin_password,
        "SLIPWAY_HUB_OPTIONS": json.dumps(options),
    }


def main() -> NoReturn:
    """Run JupyterHub, or the proxy in front of it."""
    parser = argparse.ArgumentParser(prog="python -m slipway.onebox.services.hub.launch", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    parser.add_argument("program", choices=("hub", "proxy"))
    given = parser.parse_args()
    paths = Paths(given.home.absolute())
    settings, secrets = load_settings(paths.settings), ensure_secrets(paths.secrets)
    try:
        programs = find_programs(paths)
    except ImageError as error:
        sys.exit(str(error))
    if given.program == "proxy":
        argv, env = proxy_argv(programs, settings), proxy_environment(secrets)
    else:
        folder = paths.data("hub")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(folder)
        end_services(paths)
        write_running(paths, Running(HUB_ITSELF, find_image(paths).digest))
        argv, env = hub_argv(programs), hub_environment(programs, paths, settings, secrets)
    os.execve(argv[0], argv, {**os.environ, **env})  # noqa: S606  - becoming the program is the point


if __name__ == "__main__":
    main()
