"""Whether the API may store an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.fields import FieldError
from slipway.contract.predictor_servers import Servers
from slipway.contract.refused import refusals
from slipway.contract.sdep import GROUP, KIND, SeldonDeployment
from slipway.contract.validation import validate


def review(obj: Mapping[str, Any], *, predictor_servers: Servers | None = None) -> list[Cause]:
    """Every violation of a SeldonDeployment; other kinds have none."""
    if obj.get("kind") != KIND or not str(obj.get("apiVersion", "")).startswith(f"{GROUP}/"):
        return []
    try:
        sdep = SeldonDeployment.from_json(obj)
    except FieldError as error:
        return [Cause(error.path, error.message)]
    return [*validate(sdep, predictor_servers=predictor_servers), *refusals(sdep)]
