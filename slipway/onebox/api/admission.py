"""Reviews of single kinds after their schema: SeldonDeployments by the contract's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract.admission import review
from slipway.contract.predictor_servers import SHIPPED, cluster_only
from slipway.contract.sdep import SeldonDeployment
from slipway.onebox.api.checks import Review
from slipway.onebox.api.errors import Cause

SELDON_DEPLOYMENTS = "seldondeployments.machinelearning.seldon.io"


def review_seldon_deployment(obj: Mapping[str, Any]) -> list[Cause]:
    """The contract's violations and what one machine cannot serve, all together, each a ``FieldValueInvalid``."""
    causes = review(obj, predictor_servers=SHIPPED) or [*cluster_only(SeldonDeployment.from_json(obj))]
    return [Cause(cause.field, cause.message) for cause in causes]


def reviews() -> dict[str, Review]:
    """By storage name."""
    return {SELDON_DEPLOYMENTS: review_seldon_deployment}
