"""What `jupyterhub -f` reads: the platform's settings, then those of the platform's owner."""

from slipway.onebox.services.hub.configuration import configure

# JupyterHub puts get_config and load_subconfig here.
if own_config := configure(get_config()):  # type: ignore[name-defined]  # noqa: F821
    load_subconfig(own_config)  # type: ignore[name-defined]  # noqa: F821
