"""JupyterHub as processes of the platform: its proxy, and the hub itself, which starts the users' servers."""

from __future__ import annotations

import sys

from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import hub_endpoint
from slipway.onebox.services.probes import HttpProbe
from slipway.onebox.settings import HOST, Settings
from slipway.onebox.supervisor.spec import Port, ProcessSpec

PART = "hub"
HUB = "hub"
READY_WITHIN_S = 120.0
HUB_GRACE_S = 25.0  # it stops the users' servers first
NICE = 5  # behind what is being served


def specs(paths: Paths, settings: Settings, *, env: dict[str, str]) -> list[ProcessSpec]:
    """Last in the start order: a notebook needs everything else."""
    module = "slipway.onebox.services.hub"
    home = ("--home", str(paths.home))
    launch = (sys.executable, "-m", f"{module}.launch", *home)
    public = Port(HOST, settings.hub_port, "--hub-port")
    orders = Port(HOST, settings.hub_proxy_port)
    internal = Port(HOST, settings.hub_server_port)
    return [
        ProcessSpec(
            name="hub-proxy",
            part=PART,
            argv=(*launch, "proxy"),
            env=env,
            ports=(public, orders),
            probe=HttpProbe(f"{hub_endpoint(settings)}/_chp_healthz"),
        ),
        ProcessSpec(
            name=HUB,
            part=PART,
            argv=(*launch, "hub"),
            # The ports are in its settings, not in its command line: a change of one starts it anew all the same.
            env={**env, "SLIPWAY_HUB_ADDRESSES": f"{public} {orders} {settings.api_port} {settings.gateway_port}"},
            ports=(internal,),
            probe=HttpProbe(f"{hub_endpoint(settings)}/hub/health"),
            after=("hub-proxy", "api", "mlflow-accounts", "s3-bucket"),
            ready_within_s=READY_WITHIN_S,
            grace_s=HUB_GRACE_S,
            nice=NICE,
        ),
    ]
