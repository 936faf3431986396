"""What `jupyterhub -f` reads: the platform's settings, then those of the platform's owner."""

import json
import os

from slipway.onebox.services.hub.configuration import complete, configure

OPTIONS = json.loads(os.environ.pop("SLIPWAY_HUB_OPTIONS"))

# JupyterHub puts get_config and load_subconfig here.
configure(get_config(), OPTIONS)  # type: ignore[name-defined]  # noqa: F821
if OPTIONS["own_config"]:
    load_subconfig(OPTIONS["own_config"])  # type: ignore[name-defined]  # noqa: F821
complete(get_config(), OPTIONS)  # type: ignore[name-defined]  # noqa: F821
