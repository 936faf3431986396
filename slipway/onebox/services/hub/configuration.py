"""JupyterHub's configuration, from the options that `launch` puts into its environment."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from slipway.onebox.services.hub.authenticator import SlipwayAuthenticator
from slipway.onebox.services.hub.limits import (
    ANSWER_WITHIN_S,
    CULL_EVERY_S,
    FAILED_LOGINS,
    IDLE_S,
    LOCKED_OUT_S,
    MAX_SERVERS,
    MAX_STARTING,
    MIN_PASSWORD,
    START_WITHIN_S,
    STOP_STEP_S,
)
from slipway.onebox.services.hub.names import ADMIN, CULLER, USER_PATTERN
from slipway.onebox.services.hub.spawner import INHERITED, SlipwaySpawner

SERVER_ARGUMENTS = [
    "--KernelManager.transport_encryption=required",  # other users of this machine can connect to a kernel's ports
    f"--MappingKernelManager.cull_idle_timeout={IDLE_S}",
    f"--MappingKernelManager.cull_interval={CULL_EVERY_S}",
    "--LabApp.news_url=None",  # nothing is fetched from the network
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
]
CULLER_SCOPES = ["list:users", "read:users:activity", "read:servers", "delete:servers"]


def configure(c: Any) -> str:
    """Fill JupyterHub's configuration object; the answer is the owner's own file, to be read after it, or nothing."""
    options = json.loads(os.environ.pop("SLIPWAY_HUB_OPTIONS"))
    _configure_hub(c, options)
    _configure_users(c)
    _configure_servers(c, options)
    c.JupyterHub.services = [
        {
            "name": CULLER,
            "command": [
                sys.executable,
                "-m",
                "jupyterhub_idle_culler",
                f"--timeout={IDLE_S}",
                f"--cull-every={CULL_EVERY_S}",
            ],
            "environment": options["culler_environment"],
        }
    ]
    c.JupyterHub.load_roles = [{"name": CULLER, "scopes": CULLER_SCOPES, "services": [CULLER]}]
    return str(options["own_config"])


def _configure_hub(c: Any, options: dict[str, Any]) -> None:
    c.JupyterHub.bind_url = options["bind_url"]
    c.JupyterHub.hub_ip = "127.0.0.1"
    c.JupyterHub.hub_port = options["hub_port"]
    c.JupyterHub.db_url = f"sqlite:///{options['database']}"
    c.JupyterHub.upgrade_db = True
    c.JupyterHub.active_server_limit = MAX_SERVERS
    c.JupyterHub.concurrent_spawn_limit = MAX_STARTING
    c.JupyterHub.cleanup_proxy = False
    c.JupyterHub.log_level = "INFO"
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = options["proxy_url"]


def _configure_users(c: Any) -> None:
    c.JupyterHub.authenticator_class = SlipwayAuthenticator
    c.SlipwayAuthenticator.admin_users = {ADMIN}
    c.SlipwayAuthenticator.allow_all = True  # whom the administrator has not let in cannot log in
    c.Authenticator.username_pattern = USER_PATTERN
    c.NativeAuthenticator.open_signup = False
    c.NativeAuthenticator.minimum_password_length = MIN_PASSWORD
    c.NativeAuthenticator.check_common_password = True
    c.NativeAuthenticator.allowed_failed_logins = FAILED_LOGINS
    c.NativeAuthenticator.seconds_before_next_try = LOCKED_OUT_S


def _configure_servers(c: Any, options: dict[str, Any]) -> None:
    c.JupyterHub.spawner_class = SlipwaySpawner
    c.SlipwaySpawner.prepare_argv = options["prepare"]
    c.SlipwaySpawner.end_argv = options["end"]
    c.Spawner.env_keep = list(INHERITED)  # nothing else of the hub's environment, where its secrets are
    c.Spawner.options_form = options["form"]
    c.Spawner.options_from_form = _profile_of
    c.Spawner.args = SERVER_ARGUMENTS
    c.Spawner.default_url = "/lab"
    c.Spawner.ip = "127.0.0.1"
    c.Spawner.start_timeout = START_WITHIN_S
    c.Spawner.http_timeout = ANSWER_WITHIN_S
    c.LocalProcessSpawner.interrupt_timeout = STOP_STEP_S
    c.LocalProcessSpawner.term_timeout = STOP_STEP_S


def _profile_of(form: dict[str, list[str]]) -> dict[str, str]:
    """The form's choice; `prepare` refuses one that does not exist."""
    return {"profile": (form.get("profile") or [""])[0]}
