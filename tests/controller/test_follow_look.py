"""One look: what a rollback waits for, and what canaries that follow do to each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.contract.annotations import ROLLBACK
from slipway.contract.following import Following, RollbackRequest
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.alias_watch import AliasWatch
from slipway.controller.follow import Follow
from slipway.controller.models import references
from slipway.registry import Pointer
from tests.contract.manifests import node, predictor, sdep
from tests.controller.cases import revision

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALIAS = node(modelUri="models:/shapes@champion")


def state(name: str, *versions: str) -> Following:
    made = [revision(name, version, node_name="clf") for version in versions]
    return Following(name, made[0], made[1] if len(made) > 1 else None, serving=made[0].name)


def canary(request: RollbackRequest | None = None) -> SeldonDeployment:
    metadata: dict[str, Any] = {"annotations": {ROLLBACK: request.render()}} if request else {}
    manifest = sdep(
        predictor("stable", graph=ALIAS, traffic=90),
        predictor("canary", graph=ALIAS, traffic=10),
        metadata=metadata,
        annotations={"slipway.dev/follow-alias": "true"},
    )
    return SeldonDeployment.from_json(manifest)


@pytest.fixture
async def watch() -> AliasWatch:
    """``champion`` points to a version that nothing runs."""
    registry = AliasWatch(
        read,
        lambda: {("team", "iris"): sdep(predictor(graph=ALIAS), annotations={"slipway.dev/follow-alias": "true"})},
        1.0,
    )
    await registry.look()
    return registry


async def read(model: str) -> dict[str, Pointer]:
    assert model == "shapes"
    return {"champion": Pointer("9")}


def begin(item: SeldonDeployment, *states: Following) -> Follow:
    return Follow.begin(item, {"following": [one.to_json() for one in states]}, {}, now=NOW)


async def test_rollback_asks_nothing_of_the_registry(watch: AliasWatch):
    states = state("stable", "2", "1"), state("canary", "2")
    plain = begin(canary(), *states)
    assert [plain.known((), watch, item).is_current for item in references(plain.sdep)] == [False, False]
    target = revision("stable", "1", node_name="clf")
    rolled = begin(canary(RollbackRequest("stable", target.name, "ann", "t1")), *states)
    known = [rolled.known((), watch, item) for item in references(rolled.sdep)]
    assert [(item.is_current, (item.entry or {})["version"]) for item in known] == [(True, "1"), (True, "2")]


def test_rollback_is_of_one_predictor_and_carried_out_once():
    target = revision("stable", "1", node_name="clf")
    item = canary(RollbackRequest("stable", target.name, "ann", "t1"))
    first = begin(item, state("stable", "2", "1"), state("canary", "2", "1"))
    assert (first.states["stable"].wanted, first.states["canary"].wanted.versions) == (target, {"clf": "2"})
    assert len(first.moves) == 1
    again = begin(item, *first.states.values())
    assert (again.moves, again.states) == ((), first.states)


def test_rollback_of_before_this_object_is_not_carried_out():
    item = canary(RollbackRequest("stable", revision("stable", "1", node_name="clf").name, "ann", "t1"))
    follow = begin(item)
    assert (follow.moves, follow.refused, dict(follow.states)) == ((), "", {})


def test_predictor_that_is_gone_or_stopped_following_leaves_no_state():
    item = canary()
    gone = replace(state("canary", "2"), predictor="gone")
    assert list(begin(item, state("stable", "2"), gone).states) == ["stable"]
    plain = SeldonDeployment.from_json(sdep(predictor("stable", graph=ALIAS)))
    assert not begin(plain, state("stable", "2")).states
