"""How a predictor that follows aliases goes from one revision to the next, and back."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.contract.annotations import FOLLOW_ALIAS, KEEP_PREVIOUS, ROLLBACK, is_true, of_predictor
from slipway.contract.fields import FieldError
from slipway.contract.following import Following, NodeModel, Revision, RollbackRequest, parse_duration_s, plan_line
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.registry import Pointer

log = logging.getLogger(__name__)
MAX_HISTORY = 20
"""Moves that ``status.history`` remembers; the oldest goes first."""
KEEP_PREVIOUS_S = 3600
UNKNOWN = "unknown"
Object = dict[str, Any]


@dataclass(frozen=True)
class Move:
    """One change of what is wanted. ``how``: alias or rollback."""

    predictor: str
    old: Revision
    new: Revision
    who: str
    why: str
    how: str

    @property
    def plan(self) -> str:
        return plan_line(self.predictor, self.old, self.new)

    def to_json(self) -> Object:
        """With each version's whole digest: the revisions themselves are forgotten one day."""
        before = {item.node: item for item in self.old.models}
        changes = [
            {"node": item.node, "uri": item.uri, "from": _version(before.get(item.node)), "to": _version(item)}
            for item in self.new.models
            if item != before.get(item.node)
        ]
        fields = {"predictor": self.predictor, "how": self.how, "from": self.old.name, "to": self.new.name}
        return {**fields, "changes": changes, "who": self.who, **({"why": self.why} if self.why else {})}

    def __str__(self) -> str:
        by = "moved in the registry, which does not record by whom" if self.who == UNKNOWN else f"by {self.who}"
        return f"{self.plan}; {by}" + (f": {self.why}" if self.why else "")


def _version(model: NodeModel | None) -> Object:
    fields = {} if model is None else {"version": model.version, "digest": model.digest}
    return {key: value for key, value in fields.items() if value}


def is_following(predictor: PredictorSpec, sdep: SeldonDeployment) -> bool:
    """Whether a moved alias of this predictor rolls out by itself."""
    return is_true(of_predictor(FOLLOW_ALIAS, predictor, sdep))


def keep_s(predictor: PredictorSpec, sdep: SeldonDeployment) -> int:
    """How long the previous revision stays warm. Admission has checked the annotation."""
    given = of_predictor(KEEP_PREVIOUS, predictor, sdep)
    return KEEP_PREVIOUS_S if given is None else parse_duration_s(given)


def read_followings(status: Mapping[str, Any]) -> dict[str, Following]:
    """``status.following`` by predictor. What is unreadable is as good as absent: the registry is asked anew."""
    found = {}
    for item in status.get("following") or ():
        try:
            following = Following.read(item)
        except FieldError as error:
            log.warning("status of a SeldonDeployment: %s", error)
            continue
        found[following.predictor] = following
    return found


def requested(sdep: SeldonDeployment) -> RollbackRequest | None:
    """The rollback that was asked for last. Admission has checked the annotation."""
    text = sdep.metadata_annotations.get(ROLLBACK)
    return None if text is None else RollbackRequest.parse(text, ROLLBACK)


def roll_back(state: Following, request: RollbackRequest) -> tuple[Following, Move | None]:
    """The state in which the revision that ``request`` names is wanted; no Move where it is not there, or wanted already.

    The alias still points to what is rejected by this, until somebody moves it: it is not followed there again.
    """
    target = state.revision(request.to)
    handled = replace(state, handled=request.at)
    if target is None or target == state.wanted:
        return handled, None
    served = state.revision(state.serving)
    move = Move(state.predictor, state.wanted, target, who=request.who, why=request.why, how="rollback")
    previous = served if served != target else None
    rejected = {
        node: version for node, version in state.wanted.versions.items() if target.versions.get(node) != version
    }
    return (
        replace(
            handled,
            wanted=target,
            previous=previous,
            until="",  # what serves until then stays without end
            rejected=rejected,
            rolled_back=state.wanted.name,
            reason="",
            last_error="",
        ),
        move,
    )


def advance(
    old: Following | None, wanted: Revision, pointers: Mapping[str, Pointer], *, predictor: str
) -> tuple[Following, Move | None]:
    """The state in which ``wanted`` is what the aliases name, and how it came to that.

    ``pointers``: where the alias of each node points, as far as that is known now.
    """
    seen = {node: pointer.at for node, pointer in pointers.items() if pointer.at}
    if old is None or old.wanted.places != wanted.places:  # another graph: what served it cannot be made from this one
        return Following(predictor, wanted, handled=old.handled if old else "", seen=seen), None
    kept = {node: version for node, version in old.rejected.items() if _still(old, node, pointers.get(node))}
    state = replace(old, rejected=kept, seen={**old.seen, **seen})
    if old.wanted == wanted:
        return state, None
    served = old.revision(old.serving)
    previous = served if served is not None and served != wanted else old.previous
    if previous == wanted:
        previous = None
    who, why = _author(old, wanted, pointers)
    move = Move(predictor, old.wanted, wanted, who=who, why=why, how="alias")
    rolled_back = "" if wanted.name == old.rolled_back else old.rolled_back  # somebody wants it again
    changed = replace(state, wanted=wanted, previous=previous, until="", rolled_back=rolled_back)
    return replace(changed, reason="", last_error=""), move


def _still(state: Following, node: str, pointer: Pointer | None) -> bool:
    """Not known to have been moved since ``node``'s version was rejected."""
    return pointer is None or state.rejects(node, pointer.version, moved_at=pointer.at)


def _author(old: Following, wanted: Revision, pointers: Mapping[str, Pointer]) -> tuple[str, str]:
    """Who moved the aliases and why; a record that was seen at an earlier look is not of this move."""
    fresh = []
    for node, version in wanted.versions.items():
        pointer = pointers.get(node)
        if old.wanted.versions.get(node) == version:
            continue
        if pointer is None or pointer.version != version or not pointer.who or old.seen.get(node) == pointer.at:
            return UNKNOWN, ""
        fresh.append(pointer)
    who, why = (list(dict.fromkeys(values)) for values in ([item.who for item in fresh], [item.why for item in fresh]))
    return ", ".join(who) or UNKNOWN, "; ".join(filter(None, why))


def settle(state: Following, serving: str, *, keep_s: int, now: datetime) -> Following:
    """``state`` after a look at what the Service selects: since when that serves, and how long the one before stays."""
    if serving != state.serving:
        state = replace(state, serving=serving, since=stamp(now))
    if not state.is_settled:
        return replace(state, until="")
    until = ""
    if state.previous is not None and state.since:
        until = stamp(datetime.fromisoformat(state.since) + timedelta(seconds=keep_s))
    return replace(state, until=until, reason="", last_error="")


def running(state: Following, *, now: datetime) -> list[Revision]:
    """What has Pods: the wanted revision, and the previous one while it serves or is kept warm."""
    return list(state.revisions) if is_warm(state, now=now) else [state.wanted]


def is_warm(state: Following, *, now: datetime) -> bool:
    return state.previous is not None and (not state.until or now < datetime.fromisoformat(state.until))


def next_look_s(states: Iterable[Following], *, now: datetime) -> float | None:
    """Seconds until the first previous revision has been kept long enough."""
    ends = [datetime.fromisoformat(state.until) for state in states if state.until and is_warm(state, now=now)]
    return None if not ends else max((min(ends) - now).total_seconds(), 0.0) + 0.1


def remembered(
    history: Sequence[Object], moves: Sequence[Move], states: Mapping[str, Following], *, now: datetime
) -> list[Object]:
    """``status.history`` with ``moves``, and with the time at which each began to serve."""
    entries = [dict(item) for item in history if isinstance(item, Mapping)]
    entries += [{"at": stamp(now), **move.to_json()} for move in moves]
    latest = {entry.get("predictor"): entry for entry in entries}
    for name, entry in latest.items():
        state = states.get(str(name))
        if state is not None and state.is_settled and state.serving == entry.get("to") and "servedAt" not in entry:
            entry["servedAt"] = stamp(now)
    return entries[-MAX_HISTORY:]


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
