"""Reviews of single kinds after their schema: SeldonDeployments by the contract's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract.admission import review
from slipway.onebox.api.checks import Review
from slipway.onebox.api.errors import Cause

SELDON_DEPLOYMENTS = "seldondeployments.machinelearning.seldon.io"


def review_seldon_deployment(obj: Mapping[str, Any]) -> list[Cause]:
    """The contract's violations, all together, each a ``FieldValueInvalid``."""
    return [Cause(cause.field, cause.message) for cause in review(obj)]


def reviews() -> dict[str, Review]:
    """By storage name."""
    return {SELDON_DEPLOYMENTS: review_seldon_deployment}
