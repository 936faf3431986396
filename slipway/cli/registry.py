"""Which registry the commands talk to."""

from __future__ import annotations

import os

from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import load_model_credentials
from slipway.registry import RegistryAddress


def registry_address() -> RegistryAddress | None:
    """The environment's (MLFLOW_TRACKING_URI), else this machine's platform's; None where there is neither.

    Raises:
        SettingsError: the platform's settings are broken.
    """
    paths = Paths.from_env()
    if os.environ.get("MLFLOW_TRACKING_URI") or not paths.mlflow_env.exists():
        return RegistryAddress.from_env()
    return RegistryAddress.from_env(load_model_credentials(paths))
