"""Which registry the commands talk to, and in whose name."""

from __future__ import annotations

import getpass
import os

from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import load_model_credentials
from slipway.registry import RegistryAddress

HUB_USER = "JUPYTERHUB_USER"


def registry_address() -> RegistryAddress | None:
    """The environment's (MLFLOW_TRACKING_URI), else this machine's platform's; None where there is neither.

    Raises:
        SettingsError: the platform's settings are broken.
    """
    paths = Paths.from_env()
    if os.environ.get("MLFLOW_TRACKING_URI") or not paths.mlflow_env.exists():
        return RegistryAddress.from_env()
    return RegistryAddress.from_env(load_model_credentials(paths))


def present_user() -> str:
    """Whose name a record gets where none is given: the hub's user, else the login's."""
    try:
        return os.environ.get(HUB_USER) or getpass.getuser()
    except (OSError, KeyError):  # no entry for this user id, and no variable that names one
        return f"uid {os.getuid()}"
