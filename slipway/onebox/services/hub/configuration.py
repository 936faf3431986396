"""JupyterHub's configuration, from the options that `launch` puts into its environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from traitlets.config import LazyConfigValue

from slipway.onebox.services.hub.authenticator import SlipwayAuthenticator
from slipway.onebox.services.hub.limits import (
    ANSWER_WITHIN_S,
    CULL_EVERY_S,
    FAILED_LOGINS,
    IDLE_S,
    LOCKED_OUT_S,
    MAX_MEMORY_BYTES,
    MAX_SERVERS,
    MAX_STARTING,
    MIN_PASSWORD,
    SHUT_OUT_WITHIN_S,
    START_WITHIN_S,
    STOP_STEP_S,
)
from slipway.onebox.services.hub.names import ADMIN, CULLER, MEMORY_WATCH, USER_PATTERN
from slipway.onebox.services.hub.spawner import INHERITED, SlipwaySpawner

CULLER_SCOPES = ["list:users", "read:users:activity", "read:servers", "delete:servers"]


def configure(c: Any, options: Mapping[str, Any]) -> None:
    """The platform's settings, which the owner's own file may change afterwards."""
    _configure_hub(c, options)
    _configure_users(c)
    _configure_servers(c, options)


def complete(c: Any, options: Mapping[str, Any]) -> None:
    """What the owner's file must not lose: its lists of services and roles come after ours."""
    own = c.SlipwaySpawner
    timeout, every = own.get("idle_s", IDLE_S), own.get("cull_every_s", CULL_EVERY_S)
    culler = [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={timeout}", f"--cull-every={every}"]
    commands = {CULLER: culler, MEMORY_WATCH: options["memory_watch"]}
    services = [
        {"name": name, "command": command, "environment": options["environments"][name]}
        for name, command in commands.items()
    ]
    roles = [{"name": CULLER, "scopes": CULLER_SCOPES, "services": [CULLER]}]
    c.JupyterHub.services = [*services, *_listed(c.JupyterHub, "services")]
    c.JupyterHub.load_roles = [*roles, *_listed(c.JupyterHub, "load_roles")]


def _listed(section: Any, name: str) -> list[Any]:
    """What the owner set or appended."""
    value = section.get(name, [])
    return list(value.get_value([]) if isinstance(value, LazyConfigValue) else value)


def _configure_hub(c: Any, options: Mapping[str, Any]) -> None:
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
    c.SlipwayAuthenticator.auth_refresh_age = SHUT_OUT_WITHIN_S
    c.SlipwayAuthenticator.refresh_pre_spawn = True  # within that time nobody who was shut out starts a server
    c.Authenticator.username_pattern = USER_PATTERN
    c.NativeAuthenticator.open_signup = False
    c.NativeAuthenticator.minimum_password_length = MIN_PASSWORD
    c.NativeAuthenticator.check_common_password = True
    c.NativeAuthenticator.allowed_failed_logins = FAILED_LOGINS
    c.NativeAuthenticator.seconds_before_next_try = LOCKED_OUT_S


def _configure_servers(c: Any, options: Mapping[str, Any]) -> None:
    c.JupyterHub.spawner_class = SlipwaySpawner
    c.SlipwaySpawner.prepare_argv = options["prepare"]
    c.SlipwaySpawner.end_argv = options["end"]
    c.Spawner.env_keep = list(INHERITED)  # nothing else of the hub's environment, where its secrets are
    c.Spawner.options_form = options["form"]
    c.Spawner.options_from_form = _profile_of
    c.Spawner.mem_limit = MAX_MEMORY_BYTES
    c.Spawner.default_url = "/lab"
    c.Spawner.ip = "127.0.0.1"
    c.Spawner.start_timeout = START_WITHIN_S
    c.Spawner.http_timeout = ANSWER_WITHIN_S
    c.LocalProcessSpawner.interrupt_timeout = STOP_STEP_S
    c.LocalProcessSpawner.term_timeout = STOP_STEP_S


def _profile_of(form: dict[str, list[str]]) -> dict[str, str]:
    """The form's choice; `prepare` refuses one that does not exist."""
    return {"profile": (form.get("profile") or [""])[0]}
