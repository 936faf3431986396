"""Which version each node runs: asked of the registry once, then kept in the status."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from slipway.contract.annotations import FOLLOW_ALIAS, is_true
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.registry import RegistryUnavailable, ResolvedModel, is_model_reference

log = logging.getLogger(__name__)

ModelKey = tuple[str, str]
"""(predictor, node)."""
Object = dict[str, Any]
Resolve = Callable[[str], Awaitable[ResolvedModel]]


@dataclass(frozen=True)
class Reference:
    """One node's ``models:/`` URI; ``revision`` changes when its predictor does (traffic and replicas aside)."""

    key: ModelKey
    uri: str
    revision: str

    @property
    def is_alias(self) -> bool:
        return "@" in self.uri


@dataclass
class Resolved:
    """``entries`` go into ``status.models``; ``is_stale``: an alias could not be looked up and an older answer holds."""

    models: dict[ModelKey, ResolvedModel] = field(default_factory=dict)
    entries: list[Object] = field(default_factory=list)
    is_stale: bool = False


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


def follows_alias(sdep: SeldonDeployment) -> bool:
    """Whether a moved alias rolls out by itself."""
    return is_true(sdep.annotations.get(FOLLOW_ALIAS)) and any(item.is_alias for item in references(sdep))


async def resolve_models(
    sdep: SeldonDeployment, known: Sequence[Mapping[str, Any]], resolve: Resolve, *, look_again: bool
) -> Resolved:
    """Every ``models:/`` node's version: as ``known`` (``status.models``) says, else as the registry does.

    A version number never changes its meaning, so it is asked for once. An alias is asked for again when its predictor
    is edited, or with ``look_again``; while the registry is away, the last answer holds.

    Raises:
        RegistryError: the registry has no answer and there was none before.
    """
    found = Resolved()
    for wanted in references(sdep):
        entry = _known(known, wanted)
        is_current = entry is not None and (not wanted.is_alias or entry.get("revision") == wanted.revision)
        if entry is None or not is_current or (look_again and wanted.is_alias):
            try:
                entry = to_status(wanted, await resolve(wanted.uri))
            except RegistryUnavailable as error:
                if entry is None:
                    raise
                log.warning("%s/%s: %s; version %s stays", sdep.namespace, sdep.name, error, entry["version"])
                found.is_stale = True
        found.models[wanted.key] = _model(entry)
        found.entries.append(dict(entry))
    return found


def _known(entries: Sequence[Mapping[str, Any]], wanted: Reference) -> Mapping[str, Any] | None:
    """What an earlier look wrote for the same URI of the same node."""
    for entry in entries:
        if (entry.get("predictor"), entry.get("node"), entry.get("uri")) == (*wanted.key, wanted.uri):
            return entry
    return None


def _model(entry: Mapping[str, Any]) -> ResolvedModel:
    return ResolvedModel(
        name=entry["name"],
        version=entry["version"],
        digest=entry.get("digest"),
        source=entry["source"],
        alias=entry.get("alias"),
    )


def to_status(wanted: Reference, model: ResolvedModel) -> Object:
    """The entry of ``status.models``."""
    predictor, node = wanted.key
    fields = {key: value for key, value in asdict(model).items() if value is not None}
    return {"predictor": predictor, "node": node, "uri": wanted.uri, "revision": wanted.revision, **fields}
