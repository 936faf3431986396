"""The names that component classes import from ``seldon_core``, for images that do not carry that package.

``SeldonComponent`` and ``SeldonResponse`` behave as the contract's section 4.4 says; of the package exists what stands in
``_MODULES``, and nothing else.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any, NoReturn

from slipway.contract.protos import prediction_pb2
from slipway.microservice.local_storage import Storage
from slipway.microservice.seldon_utils import UTILS
from slipway.serving.errors import BAD_DATA, ServingError


class SeldonMicroserviceException(ServingError):
    """An error with its own HTTP status and machine code."""

    status_code = 400

    def __init__(
        self, message: str, status_code: int | None = None, payload: Any = None, reason: str = BAD_DATA
    ) -> None:
        code = self.status_code if status_code is None else status_code
        super().__init__(message, status_code=code, reason=reason)
        self.message = message
        self.payload = payload


class SeldonNotImplementedError(SeldonMicroserviceException):
    """Raised by a hook that is not there: the next way to answer is tried."""


class SeldonResponse:
    """A hook's result with tags and metrics of this one request."""

    def __init__(
        self, data: Any, tags: dict[str, Any] | None = None, metrics: list[dict[str, Any]] | None = None
    ) -> None:
        self.data = data
        self.tags = tags or {}
        self.metrics = metrics or []

    @classmethod
    def create(cls, data: Any) -> SeldonResponse:
        return data if isinstance(data, cls) else cls(data)


class SeldonComponent:
    """Optional base class: every hook exists and says that it is not implemented."""

    def __init__(self, **kwargs: Any) -> None:
        """Take any parameters."""

    def load(self) -> None:
        """Nothing to load."""


def _not_implemented(name: str) -> Any:
    def hook(_self: Any, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise SeldonNotImplementedError(f"{name} is not implemented")

    hook.__name__ = name
    return hook


BASE_HOOKS = (
    *("tags", "class_names", "metrics", "feature_names", "metadata", "init_metadata", "health_status"),
    *("predict", "transform_input", "transform_output", "route", "aggregate", "send_feedback"),
    *("predict_raw", "transform_input_raw", "transform_output_raw", "route_raw", "aggregate_raw", "send_feedback_raw"),
    "health_status_raw",
)
for _name in BASE_HOOKS:
    setattr(SeldonComponent, _name, _not_implemented(_name))


def create_counter(key: str, value: float) -> dict[str, Any]:
    return {"key": key, "type": "COUNTER", "value": value}


def create_gauge(key: str, value: float) -> dict[str, Any]:
    return {"key": key, "type": "GAUGE", "value": value}


def create_timer(key: str, value: float) -> dict[str, Any]:
    """``value`` is in milliseconds."""
    return {"key": key, "type": "TIMER", "value": value}


_MODULES: dict[str, dict[str, Any]] = {
    "seldon_core": {"Storage": Storage},
    "seldon_core.storage": {"Storage": Storage},
    "seldon_core.user_model": {
        "SeldonComponent": SeldonComponent,
        "SeldonNotImplementedError": SeldonNotImplementedError,
        "SeldonResponse": SeldonResponse,
    },
    "seldon_core.flask_utils": {"SeldonMicroserviceException": SeldonMicroserviceException},
    "seldon_core.metrics": {
        "create_counter": create_counter,
        "create_gauge": create_gauge,
        "create_timer": create_timer,
    },
    "seldon_core.utils": UTILS,
    "seldon_core.proto": {"prediction_pb2": prediction_pb2},
    "seldon_core.proto.prediction_pb2": vars(prediction_pb2),
}


def advice_on(error: BaseException) -> str:
    """What would be right where an import asks for more of the package; empty for other errors."""
    if not isinstance(error, ImportError) or not (error.name or "").startswith("seldon_core"):
        return ""
    offered = ", ".join(sorted(set(_MODULES) - {"seldon_core"}))
    return f"; of seldon_core only a part is here ({offered}): add seldon-core==1.17.1 to the requirements for more"


def offer_seldon_names() -> None:
    """Make the names importable, unless the real package is installed."""
    if importlib.util.find_spec("seldon_core") is not None:
        return
    for name, members in _MODULES.items():
        module = ModuleType(name, doc="Names of seldon-core's wrapper, served by slipway.microservice.")
        module.__dict__.update({key: value for key, value in members.items() if not key.startswith("__")})
        module.__path__ = []
        sys.modules[name] = module
    sys.modules["seldon_core.proto.prediction_pb2"] = prediction_pb2
    for name in list(_MODULES)[1:]:
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, sys.modules[name])
