"""Back to the version before: traffic first, then the alias in the registry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from slipway.contract.annotations import ROLLBACK
from slipway.contract.fields import FieldError
from slipway.contract.following import Following, NodeModel, RollbackRequest
from slipway.kube.client import Kube
from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.registry import AliasMove, RegistryAddress, RegistryError, check_author, move_alias
from slipway.release.errors import RollbackRefused, RollbackTimeout
from slipway.release.plan import RollbackPlan, followings_of, plan_rollback, promote_command

POLL_S = 0.05
SWITCH_TIMEOUT_S = 30.0
"""For a version whose Pods run."""
START_TIMEOUT_S = 600.0
"""For one whose Pods must be started: as long as a model may take to load."""
FIELD_MANAGER = "slipway"


@dataclass(frozen=True)
class RolledBack:
    """``switched_after_s``: from the request until the Service selected the old version.

    ``alias_error`` says that an alias was not moved back, and what moves it; empty when ``moves`` are all.
    """

    plan: RollbackPlan
    switched_after_s: float
    moves: tuple[AliasMove, ...]
    alias_error: str = ""


async def roll_back(
    name: str,
    *,
    namespace: str,
    kube: Kube,
    registry: RegistryAddress | None,
    session: aiohttp.ClientSession,
    who: str,
    why: str = "",
    predictor: str | None = None,
    to_version: str | None = None,
    on_plan: Callable[[str], None] | None = None,
) -> RolledBack:
    """Let the previous version of a predictor that follows an alias serve again, and move the alias back to it.

    ``on_plan`` is called with the plan's line before anything is written.

    Raises:
        RollbackRefused: nothing to go back to; nothing was written.
        RollbackTimeout: the controller did not switch in time.
        InvalidMove: no author, or too long a reason.
        KubeError: the API refused or is away.
    """
    check_author(f"{namespace}/{name}", who=who, why=why)
    obj = await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace)
    now = datetime.now(UTC)
    plan = plan_rollback(obj, now=now, predictor=predictor, to_version=to_version)
    if on_plan:
        on_plan(plan.line)
    request = RollbackRequest(plan.state.predictor, plan.target.name, who, now.isoformat(), why)
    began_s = time.monotonic()
    body = {"metadata": {"annotations": {ROLLBACK: request.render()}}}
    await kube.patch(SELDON_DEPLOYMENT, name, body, type="merge", namespace=namespace, field_manager=FIELD_MANAGER)
    await _switched(kube, name, namespace, request, within_s=SWITCH_TIMEOUT_S if plan.is_warm else START_TIMEOUT_S)
    took_s = time.monotonic() - began_s
    moves, error = await _move_back(plan, registry, session, who=who, why=why)
    return RolledBack(plan, took_s, moves, error)


async def _switched(kube: Kube, name: str, namespace: str, request: RollbackRequest, *, within_s: float) -> None:
    """Until the status says that the request was carried out."""
    deadline = time.monotonic() + within_s
    while True:
        obj = await kube.get(SELDON_DEPLOYMENT, name, namespace=namespace)
        states = {item.predictor: item for item in followings_of(obj)}
        state = states.get(request.predictor)
        if _is_done(name, request, state, other=_other_request(obj, request, states)):
            return
        if time.monotonic() > deadline:
            why = f": {state.reason} {state.last_error}".rstrip() if state is not None and state.reason else ""
            raise RollbackTimeout(
                f"{name}: {request.to} does not serve after {within_s:.0f} s{why}: is the controller up? "
                f"`slipway status` tells, `slipway describe sdep {name}` shows how far it is"
            )
        await asyncio.sleep(POLL_S)


def _is_done(name: str, request: RollbackRequest, state: Following | None, *, other: RollbackRequest | None) -> bool:
    """Whether it serves. Raises RollbackRefused where it never will."""
    if state is None:
        return False
    is_handled = state.handled == request.at
    if state.serving == request.to and (is_handled or other is not None):
        return True
    if state.wanted.name == request.to:
        return False
    if is_handled:
        raise RollbackRefused(
            f"{name}: {request.to} is gone, {state.wanted.name} is wanted: `slipway describe sdep {name}` shows why"
        )
    if other is not None:
        raise RollbackRefused(
            f"{name}: the rollback of predictor {other.predictor} by {other.who} took the place of this one before it "
            "was carried out: look, then say it again"
        )
    return False


def _other_request(
    obj: Mapping[str, Any], request: RollbackRequest, states: Mapping[str, Following]
) -> RollbackRequest | None:
    """The request that stands where ours was written, once it is carried out: an object has room for one."""
    text = (obj["metadata"].get("annotations") or {}).get(ROLLBACK)
    if text is None or text == request.render():
        return None
    try:
        other = RollbackRequest.parse(text, ROLLBACK)
    except FieldError:  # nobody carries that out
        return None
    state = states.get(other.predictor)
    return other if state is not None and state.handled == other.at else None


async def _move_back(
    plan: RollbackPlan, registry: RegistryAddress | None, session: aiohttp.ClientSession, *, who: str, why: str
) -> tuple[tuple[AliasMove, ...], str]:
    """The moves that were made, and what to do about those that were not."""
    made: list[AliasMove] = []
    missing: list[str] = []
    for model in plan.moves:
        alias = model.uri.partition("@")[2]
        if registry is None:
            missing.append(_not_moved(model, "no registry is known here, MLFLOW_TRACKING_URI would name it"))
            continue
        known = (*plan.versions_of(model.node), model.version)
        said = {"who": who, "why": why or "rolled back"}
        try:
            move = await move_alias(
                model.name, alias, model.version, **said, only_from=known, registry=registry, session=session
            )
            made.append(move)
        except RegistryError as error:
            missing.append(_not_moved(model, str(error)))
    return tuple(made), "; ".join(missing)


def _not_moved(model: NodeModel, reason: str) -> str:
    return f"{model.uri} was not moved back ({reason}): run `{promote_command(model)}`"
