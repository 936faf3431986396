"""What ``desired`` needs to know besides the SeldonDeployment itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slipway.contract.following import Revision
from slipway.controller.settings import Settings
from slipway.registry import ResolvedModel


@dataclass(frozen=True)
class Facts:
    """``models``: the resolved version by (predictor, node); nodes with other kinds of URI are not in it.

    ``revisions``: of each predictor that follows aliases those that run, the wanted one first; ``selected``: the name of
    the one that its Services are to select. ``buckets``: which callers are whose by the VirtualService that there is.
    ``ready``: whether each predictor has an endpoint or may rest, None where the mesh looks for itself.
    """

    settings: Settings = field(default_factory=Settings)
    models: Mapping[tuple[str, str], ResolvedModel] = field(default_factory=dict)
    revisions: Mapping[str, Sequence[Revision]] = field(default_factory=dict)
    selected: Mapping[str, str] = field(default_factory=dict)
    buckets: str = ""
    ready: Mapping[str, bool] | None = None
