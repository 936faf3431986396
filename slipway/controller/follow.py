"""One look at the predictors of a SeldonDeployment that follow aliases: from the last status to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from slipway.contract.following import Following, Revision
from slipway.contract.names import REVISION, predictor_service_name
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.controller.alias_watch import AliasWatch
from slipway.controller.facts import Facts
from slipway.controller.follow_status import Followers
from slipway.controller.following import (
    Move,
    advance,
    keep_s,
    next_look_s,
    read_followings,
    remembered,
    requested,
    roll_back,
    running,
    settle,
)
from slipway.controller.handover import may_switch
from slipway.controller.models import (
    Known,
    ModelKey,
    Reference,
    Resolved,
    followed,
    known_by_following,
    known_by_status,
    to_status,
)
from slipway.controller.plan import ObjectKey, Step, key_of, stamped
from slipway.controller.revisions import resolved_models
from slipway.controller.services import services
from slipway.controller.settings import Settings
from slipway.registry import Pointer

Object = dict[str, Any]


@dataclass(frozen=True)
class Follow:
    """``nodes``: URI by node of each predictor that follows. ``moves``: what this look decided to change.

    ``refused``: a rollback that cannot be carried out, in a sentence.
    """

    sdep: SeldonDeployment
    now: datetime
    nodes: Mapping[str, Mapping[str, str]]
    states: Mapping[str, Following]
    moves: tuple[Move, ...] = ()
    refused: str = ""

    @classmethod
    def begin(
        cls, sdep: SeldonDeployment, status: Mapping[str, Any], owned: Mapping[ObjectKey, Object], *, now: datetime
    ) -> Follow:
        """As the last status says, corrected by what the Services select, and with the rollback that was asked for."""
        nodes = followed(sdep)
        states = {name: state for name, state in read_followings(status).items() if name in nodes}
        begun = cls(sdep, now, nodes, states).settled(owned)
        request = requested(sdep)
        state = begun.states.get(request.predictor) if request else None
        if request is None or state is None or state.handled == request.at:
            return begun
        rolled, move = roll_back(state, request)
        begun = replace(begun, states={**begun.states, rolled.predictor: rolled})
        if move is None:
            known = ", ".join(item.name for item in state.revisions)
            return replace(begun, refused=f"{request.predictor} has no revision {request.to} to go to, it has {known}")
        return replace(begun, moves=(move,))

    def known(self, entries: Sequence[Mapping[str, Any]], watch: AliasWatch, wanted: Reference) -> Known:
        """What need not be asked. A rollback waits for no registry: whatever is known is current then."""
        found: Known | None = None
        if wanted.is_followed:
            state = self.states.get(wanted.key[0])
            found = known_by_following(state, wanted, watch.pointer(wanted.uri)) if state else None
        found = found or known_by_status(entries, wanted)
        return replace(found, is_current=found.entry is not None) if self.moves else found

    def advanced(self, resolved: Resolved, watch: AliasWatch) -> Follow:
        """With the versions that ``resolved`` says."""
        states, moves = {}, list(self.moves)
        for name, nodes in self.nodes.items():
            wanted = Revision.of(name, resolved.of_predictor(name, nodes))
            pointers: dict[str, Pointer] = {}
            for node, uri in nodes.items():
                if (pointer := watch.pointer(uri)) is not None:
                    pointers[node] = pointer
            states[name], move = advance(self.states.get(name), wanted, pointers, predictor=name)
            if name not in self.states and (request := requested(self.sdep)) and request.predictor == name:
                states[name] = replace(states[name], handled=request.at)  # asked of what was there before
            moves += [move] if move else []
        return replace(self, states=states, moves=tuple(moves))

    def settled(self, owned: Mapping[ObjectKey, Object]) -> Follow:
        """After the Services may have been switched; one that is gone says nothing."""
        states = {}
        for name, state in self.states.items():
            predictor = self._predictor(name)
            selected = _selected(predictor, self.sdep, owned)
            serving = state.serving if selected is None else selected
            states[name] = settle(state, serving, keep_s=keep_s(predictor, self.sdep), now=self.now)
        return replace(self, states=states)

    def facts(self, facts: Facts, owned: Mapping[ObjectKey, Object]) -> Facts:
        """With what runs of each, and what is to be selected: also where a Service must be made anew, what served."""
        revisions = {name: running(state, now=self.now) for name, state in self.states.items()}
        selected = {}
        for name, state in self.states.items():
            is_lost = _selected(self._predictor(name), self.sdep, owned) is None
            names = [revision.name for revision in revisions[name]]
            selected[name] = state.serving if is_lost and state.serving in names else state.wanted.name
        return replace(facts, revisions=revisions, selected=selected)

    def switches(self, owned: Mapping[ObjectKey, Object], settings: Settings) -> list[Step]:
        """What lets the wanted revisions serve that run already, where nothing else can be written."""
        whole = settings.defaulted(self.sdep)
        deployments = [obj for key, obj in owned.items() if key[0] == "Deployment"]
        steps = []
        for predictor in whole.predictors:
            state = self.states.get(predictor.name)
            if state is None or state.is_settled:
                continue
            for service in services(predictor, whole, revision=state.wanted.name):
                found = owned.get(key_of(service))
                if found is not None and may_switch(service, found, deployments):
                    steps.append(Step("Update", stamped(service), f"{state.wanted.name} is wanted again"))
        return steps

    def kept(self, status: Mapping[str, Any]) -> Object:
        """The parts of the next status that are known while the versions are not."""
        states = [state.to_json() for _, state in sorted(self.states.items())]
        history = remembered(status.get("history") or (), self.moves, self.states, now=self.now)
        return {key: value for key, value in (("following", states), ("history", history)) if value}

    def models(self, resolved: Resolved) -> list[Object]:
        """``status.models``: of each predictor what serves."""
        serving: dict[ModelKey, Any] = {}
        for name, state in self.states.items():
            revision = state.revision(state.serving) or state.wanted
            serving |= {(name, node): model for node, model in resolved_models(revision).items()}
        return [
            to_status(reference, serving[reference.key]) if reference.key in serving else entry
            for reference, entry in resolved.pairs
        ]

    def followers(self, status: Mapping[str, Any], watch: AliasWatch) -> Followers:
        """For the next status."""
        uris = (uri for nodes in self.nodes.values() for uri in nodes.values())
        lost = next(filter(None, map(watch.lost, uris)), None)
        history = remembered(status.get("history") or (), self.moves, self.states, now=self.now)
        return Followers(self.states, lost, history)

    @property
    def next_look_s(self) -> float | None:
        return next_look_s(self.states.values(), now=self.now)

    def _predictor(self, name: str) -> PredictorSpec:
        return next(predictor for predictor in self.sdep.predictors if predictor.name == name)


def _selected(predictor: PredictorSpec, sdep: SeldonDeployment, owned: Mapping[ObjectKey, Object]) -> str | None:
    """The revision that the predictor's Service selects, empty for none; None without a Service."""
    service = owned.get(("Service", predictor_service_name(sdep.name, predictor)))
    return None if service is None else str((service["spec"].get("selector") or {}).get(REVISION, ""))
