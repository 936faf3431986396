"""What `jupyterhub -f` reads."""

from slipway.onebox.services.hub.configuration import configure

configure(get_config())  # type: ignore[name-defined]  # noqa: F821  - JupyterHub's name
