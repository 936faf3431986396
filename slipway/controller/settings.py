"""What an installation decides once: images, gateway, secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway import __version__

DEFAULT_USER_ID = 8888


@dataclass(frozen=True)
class Settings:
    """``default_model_secret`` is (namespace, name); ``predictor_servers`` maps an implementation to its image.

    ``has_keda``: ScaledObjects are written and have an effect.
    """

    executor_image: str = f"slipway/executor:{__version__}"
    storage_initializer_image: str = f"slipway/storage-initializer:{__version__}"
    istio_gateway: str = "istio-system/seldon-gateway"
    default_model_secret: tuple[str, str] = ("slipway-system", "slipway-model-storage")
    predictor_servers: Mapping[str, str] = field(default_factory=dict)
    has_keda: bool = False
