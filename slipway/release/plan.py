"""A SeldonDeployment's status → what a rollback would do, or why it would not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway.contract.fields import FieldError
from slipway.contract.following import Following, NodeModel, Revision, plan_line
from slipway.release.errors import RollbackRefused

INSTEAD = (
    "put the version, or the percentages, of before into its manifest and apply it; with the annotation "
    "slipway.dev/follow-alias (mlflow deployments: -C follow=true, in Python config={'follow': True}) the version before "
    "stays warm from then on"
)


@dataclass(frozen=True)
class RollbackPlan:
    """``target`` is to serve instead of ``wanted``. ``is_warm``: its Pods run, so that it is a switch and not a start."""

    state: Following
    target: Revision
    is_warm: bool

    @property
    def line(self) -> str:
        """``stable: yolo-detector: models:/shapes@champion version 2 … → version 1 … (warm)``."""
        how = "warm" if self.is_warm else "to be started"
        return f"{plan_line(self.state.predictor, self.state.wanted, self.target)} ({how})"

    @property
    def moves(self) -> tuple[NodeModel, ...]:
        """The versions that the aliases of the changed nodes are to name."""
        return tuple(item for item in self.target.models if item not in self.state.wanted.models)

    def versions_of(self, node: str) -> tuple[str, ...]:
        """What the alias of ``node`` names, unless somebody has moved it past us: what is wanted, or is rejected."""
        found = (self.state.wanted.versions.get(node), self.state.rejected.get(node))
        return tuple(version for version in found if version)


def plan_rollback(
    obj: Mapping[str, Any], *, now: datetime, predictor: str | None = None, to_version: str | None = None
) -> RollbackPlan:
    """``obj`` is the SeldonDeployment as the API has it. Without ``predictor`` it must be clear which is meant.

    Raises:
        RollbackRefused: with a sentence that says what to do instead.
    """
    name = obj["metadata"]["name"]
    state = _chosen(name, followings_of(obj), predictor)
    places = f"{name}: predictor {state.predictor}"
    if to_version is not None:
        return _to_version(places, state, to_version, now)
    target = state.previous
    if target is None:
        raise RollbackRefused(
            f"{places} has no version before {_versions(state.wanted)} to go back to: say which one "
            f"(slipway rollback --to-version), or move the alias: {_promote(state.wanted.models, '<VERSION>')}"
        )
    if target.name == state.rolled_back:
        raise RollbackRefused(
            f"{places} went back from {_versions(target)} already: to serve that again, move the alias: "
            f"{_promote(target.models, target.models[0].version)}"
        )
    return RollbackPlan(state, target, is_warm=_is_warm(state, target, now))


def promote_command(model: NodeModel) -> str:
    """What points the alias of ``model`` to its version."""
    return f"slipway model promote {model.name} {model.version} --alias {model.uri.partition('@')[2]}"


def followings_of(obj: Mapping[str, Any]) -> list[Following]:
    """``status.following``; RollbackRefused where it cannot be read."""
    name = obj["metadata"]["name"]
    try:
        return [Following.read(item) for item in (obj.get("status") or {}).get("following") or ()]
    except FieldError as error:
        raise RollbackRefused(
            f"{name}: its status is unreadable ({error}): the controller writes it anew soon"
        ) from error


def _chosen(name: str, states: Sequence[Following], predictor: str | None) -> Following:
    known = ", ".join(state.predictor for state in states)
    if predictor is not None:
        for state in states:
            if state.predictor == predictor:
                return state
        hint = f"those that do: {known}" if known else INSTEAD
        raise RollbackRefused(f"{name}: predictor {predictor} follows no alias: {hint}")
    if not states:
        raise RollbackRefused(f"{name}: no predictor follows an alias: {INSTEAD}")
    candidates = [state for state in states if state.previous and state.previous.name != state.rolled_back]
    if len(states) > 1 and len(candidates) != 1:
        raise RollbackRefused(
            f"{name}: several predictors follow an alias: say which (--predictor {known}; mlflow deployments: "
            "-C predictor=…, in Python config={'predictor': …})"
        )
    return candidates[0] if candidates else states[0]


def _to_version(places: str, state: Following, version: str, now: datetime) -> RollbackPlan:
    for revision in state.revisions:
        if set(revision.versions.values()) == {version}:
            if revision == state.wanted:
                raise RollbackRefused(f"{places} is at version {version} already")
            return RollbackPlan(state, revision, is_warm=_is_warm(state, revision, now))
    raise RollbackRefused(
        f"{places} has version {version} neither running nor remembered: move the alias, and it is started: "
        f"{_promote(state.wanted.models, version)}"
    )


def _promote(models: Sequence[NodeModel], version: str) -> str:
    return "; ".join(
        f"slipway model promote {item.name} {version} --alias {item.uri.partition('@')[2]}" for item in models
    )


def _is_warm(state: Following, target: Revision, now: datetime) -> bool:
    """What serves is, and the previous one until the time that the status names."""
    if target.name == state.serving:
        return True
    return bool(state.until) and now < datetime.fromisoformat(state.until)


def _versions(revision: Revision) -> str:
    return ", ".join(f"{item.name} {item.version}" for item in revision.models)
