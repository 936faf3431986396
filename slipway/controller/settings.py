"""What an installation decides once: images, gateway, secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway import __version__

DEFAULT_USER_ID = 8888
FOLLOW_INTERVAL_S = 3.0


@dataclass(frozen=True)
class Settings:
    """``default_model_secret`` is (namespace, name); ``predictor_servers`` maps an implementation to its image.

    ``has_keda``: ScaledObjects are written and have an effect. ``follow_interval_s``: pause between two looks at where
    the followed aliases point.
    """

    executor_image: str = f"slipway/executor:{__version__}"
    storage_initializer_image: str = f"slipway/storage-initializer:{__version__}"
    istio_gateway: str = "istio-system/seldon-gateway"
    default_model_secret: tuple[str, str] = ("slipway-system", "slipway-model-storage")
    predictor_servers: Mapping[str, str] = field(default_factory=dict)
    has_keda: bool = False
    follow_interval_s: float = FOLLOW_INTERVAL_S
