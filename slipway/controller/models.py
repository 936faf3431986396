"""Which version each node runs: asked of the registry once, then kept in the status."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from slipway.contract.following import Following, NodeModel
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.controller.following import is_following
from slipway.registry import Pointer, RegistryError, RegistryUnavailable, ResolvedModel, is_model_reference

log = logging.getLogger(__name__)

ModelKey = tuple[str, str]
"""(predictor, node)."""
Object = dict[str, Any]
LOOK_AGAIN_S = 30.0
"""After a refusal that somebody may lift outside of the SeldonDeployment: a model registered, a quota raised."""


@dataclass(frozen=True)
class Reference:
    """One node's ``models:/`` URI; ``revision`` changes when its predictor does (traffic and replicas aside)."""

    key: ModelKey
    uri: str
    revision: str
    is_followed: bool = False

    @property
    def is_alias(self) -> bool:
        return "@" in self.uri


Resolve = Callable[[Reference], Awaitable[ResolvedModel]]
"""Raises RegistryError."""


@dataclass(frozen=True)
class Known:
    """What an earlier look found, as an entry of ``status.models``. ``is_current``: the registry need not be asked."""

    entry: Mapping[str, Any] | None
    is_current: bool


@dataclass
class Resolved:
    """``pairs``: each reference with its entry of ``status.models``.

    ``again_s``: an alias could not be looked up and an older answer holds; when to look again, None where all is current.
    """

    models: dict[ModelKey, ResolvedModel] = field(default_factory=dict)
    pairs: list[tuple[Reference, Object]] = field(default_factory=list)
    again_s: float | None = None

    def of_predictor(self, predictor: str, nodes: Mapping[str, str]) -> tuple[NodeModel, ...]:
        """The versions of ``nodes`` (with their URIs)."""
        return tuple(_node_model(node, uri, self.models[predictor, node]) for node, uri in nodes.items())


def references(sdep: SeldonDeployment) -> Iterator[Reference]:
    """Every node whose modelUri the registry must resolve."""
    for predictor in sdep.predictors:
        revision, follows = _revision(predictor), is_following(predictor, sdep)
        for node in predictor.graph.walk():
            if is_model_reference(node.model_uri):
                uri = node.model_uri
                yield Reference((predictor.name, node.name), uri, revision, is_followed=follows and "@" in uri)


def _revision(predictor: PredictorSpec) -> str:
    """A change of percentages or replicas must not make a moved alias take effect."""
    read = {key: value for key, value in predictor.to_json().items() if key not in ("traffic", "replicas", "shadow")}
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()[:16]


def followed(sdep: SeldonDeployment) -> dict[str, dict[str, str]]:
    """URI by node, by predictor: of those that follow at least one alias."""
    found: dict[str, dict[str, str]] = {}
    for item in references(sdep):
        if item.is_followed:
            found.setdefault(item.key[0], {})[item.key[1]] = item.uri
    return found


async def resolve_models(sdep: SeldonDeployment, known: Callable[[Reference], Known], resolve: Resolve) -> Resolved:
    """Every ``models:/`` node's version: as ``known`` says where that is current, else as the registry does.

    While the registry is away, the last answer holds; where an alias is followed also when it refuses. After one question
    without an answer no more are asked in this look where there was an answer before.

    Raises:
        RegistryError: the registry has no answer and there was none before.
    """
    found = Resolved()
    is_away = False
    for wanted in references(sdep):
        before = known(wanted)
        entry = before.entry
        if entry is None or not (before.is_current or is_away):
            try:
                entry = to_status(wanted, await resolve(wanted))
            except RegistryError as error:
                is_away = isinstance(error, RegistryUnavailable)
                if entry is None or not (wanted.is_followed or is_away):
                    raise
                log.warning("%s/%s: %s; version %s stays", sdep.namespace, sdep.name, error, entry["version"])
                again_s = error.retry_after_s or LOOK_AGAIN_S
                found.again_s = min(again_s, found.again_s or again_s)
        found.models[wanted.key] = _model(entry)
        found.pairs.append((wanted, dict(entry)))
    return found


def known_by_status(entries: Sequence[Mapping[str, Any]], wanted: Reference) -> Known:
    """As ``status.models`` says. A version number never changes its meaning; an alias holds until its predictor is edited."""
    entry = _known(entries, wanted)
    return Known(entry, entry is not None and (not wanted.is_alias or entry.get("revision") == wanted.revision))


def known_by_following(state: Following, wanted: Reference, pointer: Pointer | None) -> Known | None:
    """As the predictor's revisions say: current where the alias points to one of them, or to what was rolled back from.

    None where ``wanted`` is not in them. ``pointer`` is None while it is not known where the alias points.
    """
    node = wanted.key[1]
    places = {
        item.version: item for revision in reversed(state.revisions) for item in revision.models if item.node == node
    }
    present = places.get(state.wanted.versions.get(node, ""))
    if present is None or present.uri != wanted.uri:
        return None
    if (
        pointer is None
        or pointer.version == present.version
        or state.rejects(node, pointer.version, moved_at=pointer.at)
    ):
        return Known(_entry(wanted, present), is_current=True)
    if pointer.version in places:
        return Known(_entry(wanted, places[pointer.version]), is_current=True)
    return Known(_entry(wanted, present), is_current=False)


def _entry(wanted: Reference, model: NodeModel) -> Object:
    alias = wanted.uri.partition("@")[2] or None
    return to_status(wanted, ResolvedModel(model.name, model.version, model.digest or None, model.source, alias))


def _node_model(node: str, uri: str, model: ResolvedModel) -> NodeModel:
    return NodeModel(node, uri, model.name, model.version, model.digest or "", model.source)


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
