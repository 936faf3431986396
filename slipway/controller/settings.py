"""What an installation decides once: images, gateway, secret."""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway import __version__
from slipway.contract.controller_id import NO_ID
from slipway.contract.defaulting import PortPlan, default
from slipway.contract.predictor_servers import SHIPPED, Servers
from slipway.contract.sdep import SeldonDeployment

FOLLOW_INTERVAL_S = 3.0
DEFAULT_LOG_URL = "http://default-broker"


@dataclass(frozen=True)
class Settings:
    """``default_model_secret`` is (namespace, name); ``predictor_servers``: images of prepackaged servers.

    ``has_keda``: ScaledObjects are written and have an effect. ``has_own_mesh``: the gateway is one machine's, which does
    more than Istio. ``follow_interval_s``: pause between two looks at where
    the followed aliases point. ``log_url``: where payload loggers without a URL send their events. ``prefixes_names``: a
    Deployment's name that is too long keeps the SeldonDeployment's before its hash. ``ports``: of node containers.
    ``namespace``: the only one that is looked after, None for all. ``controller_id``: of several controllers of a cluster,
    which one this is.
    """

    executor_image: str = f"slipway/executor:{__version__}"
    storage_initializer_image: str = f"slipway/storage-initializer:{__version__}"
    istio_gateway: str = "istio-system/seldon-gateway"
    default_model_secret: tuple[str, str] = ("slipway-system", "slipway-model-storage")
    predictor_servers: Servers = field(default_factory=lambda: dict(SHIPPED))
    has_keda: bool = False
    has_own_mesh: bool = False
    follow_interval_s: float = FOLLOW_INTERVAL_S
    log_url: str = DEFAULT_LOG_URL
    prefixes_names: bool = False
    ports: PortPlan = field(default_factory=PortPlan)
    namespace: str | None = None
    controller_id: str = NO_ID

    def defaulted(self, sdep: SeldonDeployment) -> SeldonDeployment:
        """``sdep`` with everything that it leaves unsaid."""
        return default(sdep, predictor_servers=self.predictor_servers, plan=self.ports)


ONE_MACHINE = Settings(has_keda=True, has_own_mesh=True)
"""Of the controller that `slipway up` starts."""
