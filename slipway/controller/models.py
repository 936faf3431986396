"""Which version each node runs: asked of the registry once, then kept in the status."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.registry import ResolvedModel, is_model_reference

ModelKey = tuple[str, str]
"""(predictor, node)."""


@dataclass(frozen=True)
class Reference:
    """One node's ``models:/`` URI; ``revision`` changes when its predictor does (traffic and replicas aside)."""

    key: ModelKey
    uri: str
    revision: str


def references(sdep: SeldonDeployment) -> Iterator[Reference]:
    """Every node whose modelUri the registry must resolve."""
    for predictor in sdep.predictors:
        revision = _revision(predictor)
        for node in predictor.graph.walk():
            if is_model_reference(node.model_uri):
                yield Reference((predictor.name, node.name), node.model_uri, revision)


def _revision(predictor: PredictorSpec) -> str:
    """A change of percentages or replicas must not make a moved alias take effect."""
    read = {key: value for key, value in predictor.to_json().items() if key not in ("traffic", "replicas", "shadow")}
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()[:16]


def remembered(status_models: Sequence[Mapping[str, Any]], wanted: Reference) -> ResolvedModel | None:
    """What an earlier reconcile wrote for the same reference."""
    for entry in status_models:
        if (entry.get("predictor"), entry.get("node")) == wanted.key and (
            entry.get("uri") == wanted.uri and entry.get("revision") == wanted.revision
        ):
            return ResolvedModel(
                name=entry["name"],
                version=entry["version"],
                digest=entry.get("digest"),
                source=entry["source"],
                alias=entry.get("alias"),
            )
    return None


def to_status(wanted: Reference, model: ResolvedModel) -> dict[str, Any]:
    """The entry of ``status.models``."""
    predictor, node = wanted.key
    fields = {key: value for key, value in asdict(model).items() if value is not None}
    return {"predictor": predictor, "node": node, "uri": wanted.uri, "revision": wanted.revision, **fields}
