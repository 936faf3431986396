"""What ``desired`` needs to know besides the SeldonDeployment itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway.controller.settings import Settings
from slipway.registry import ResolvedModel


@dataclass(frozen=True)
class Facts:
    """``models``: the resolved version by (predictor, node); nodes with other kinds of URI are not in it."""

    settings: Settings = field(default_factory=Settings)
    models: Mapping[tuple[str, str], ResolvedModel] = field(default_factory=dict)
