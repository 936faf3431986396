"""The look at where followed aliases point: one request per model, news only."""

from __future__ import annotations

from typing import Any

from slipway.controller.alias_watch import AWAY, NOT_FOUND, AliasWatch
from slipway.registry import ModelNotFound, Pointer, RegistryUnavailable, UnreadableAnswer
from tests.contract.manifests import Manifest, node, predictor, sdep

FOLLOW = {"slipway.dev/follow-alias": "true"}


def follower(uri: str = "models:/shapes@champion") -> Manifest:
    return sdep(predictor(graph=node(modelUri=uri)), annotations=FOLLOW)


class Registry:
    """Pointers by model; ``error`` is raised instead."""

    def __init__(self) -> None:
        self.models = {"shapes": {"champion": Pointer("1")}, "cells": {"champion": Pointer("7")}}
        self.errors: dict[str, Exception] = {}
        self.asked: list[str] = []

    async def __call__(self, model: str) -> Any:
        self.asked.append(model)
        if model in self.errors:
            raise self.errors[model]
        return dict(self.models[model])


def watch(registry: Registry, **objects: Manifest) -> AliasWatch:
    found = {("team", name): obj for name, obj in objects.items()}
    return AliasWatch(registry, lambda: found, 1.0)


async def test_many_followers_of_a_model_cost_one_request_and_only_news_are_told():
    registry = Registry()
    aliases = watch(registry, a=follower(), b=follower("models:/shapes@b"), c=follower("models:/cells@champion"))
    assert await aliases.look() == {("team", "a"), ("team", "b"), ("team", "c")}
    assert registry.asked == ["cells", "shapes"]
    assert await aliases.look() == set()
    registry.models["shapes"]["champion"] = Pointer("2")
    assert await aliases.look() == {("team", "a"), ("team", "b")}
    assert aliases.pointer("models:/shapes@champion") == Pointer("2")


async def test_who_follows_nothing_is_not_asked_for():
    going = follower()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    plain = sdep(predictor(graph=node(modelUri="models:/shapes@champion")))
    unreadable = {**follower(), "spec": {"annotations": FOLLOW, "predictors": [{"name": 7}]}}
    registry = Registry()
    assert await watch(registry, plain=plain, going=going, unreadable=unreadable).look() == set()
    assert not registry.asked


async def test_registry_without_an_answer_is_asked_once_a_look_and_told_once():
    registry = Registry()
    aliases = watch(registry, a=follower(), c=follower("models:/cells@champion"))
    await aliases.look()
    registry.errors = {name: RegistryUnavailable(f"{name}: away") for name in registry.models}
    registry.asked.clear()
    assert await aliases.look() == {("team", "a"), ("team", "c")}
    assert registry.asked == ["cells"]
    registry.errors["cells"] = RegistryUnavailable("away in other words")
    assert await aliases.look() == set()
    lost = aliases.lost("models:/shapes@champion")
    assert lost is not None
    assert (lost.reason, lost.message) == (AWAY, "cells: away")
    assert aliases.pointer("models:/shapes@champion") == Pointer("1"), "the last that is known"
    registry.errors.clear()
    assert await aliases.look() == {("team", "a"), ("team", "c")}
    assert aliases.lost("models:/shapes@champion") is None


async def test_model_that_is_gone_concerns_its_followers_only():
    registry = Registry()
    aliases = watch(registry, a=follower(), c=follower("models:/cells@champion"))
    await aliases.look()
    registry.errors = {"cells": ModelNotFound("no such model")}
    assert await aliases.look() == {("team", "c")}
    assert await aliases.look() == set()
    lost = aliases.lost("models:/cells@champion")
    assert lost is not None
    assert lost.reason == NOT_FOUND
    assert aliases.lost("models:/shapes@champion") is None
    registry.errors.clear()
    assert await aliases.look() == {("team", "c")}


async def test_alias_that_is_gone_is_told_with_its_name():
    registry = Registry()
    aliases = watch(registry, a=follower())
    assert aliases.lost("models:/shapes@champion") is None, "not looked at yet"
    await aliases.look()
    del registry.models["shapes"]["champion"]
    assert await aliases.look() == {("team", "a")}
    lost = aliases.lost("models:/shapes@champion")
    assert lost is not None
    assert (lost.reason, "models:/shapes@champion" in lost.message) == (NOT_FOUND, True)


async def test_what_nobody_follows_any_more_is_forgotten():
    registry = Registry()
    objects = {("team", "a"): follower()}
    aliases = AliasWatch(registry, lambda: objects, 1.0)
    await aliases.look()
    objects.clear()
    await aliases.look()
    assert aliases.pointer("models:/shapes@champion") is None


async def test_answer_about_one_model_that_cannot_be_read_keeps_nobody_else_from_following():
    registry = Registry()
    other = "models:/aaa@champion"
    looking = watch(registry, rose=follower(other), iris=follower())
    registry.errors["aaa"] = UnreadableAnswer("models:/aaa: an answer longer than 1048576 bytes")
    assert await looking.look() == {("team", "rose"), ("team", "iris")}
    assert looking.trouble == ""
    lost = looking.lost(other)
    assert lost is not None
    assert "an answer longer than" in lost.message
    assert looking.lost("models:/shapes@champion") is None


async def test_model_about_which_nobody_answers_keeps_nobody_else_from_following():
    registry = Registry()
    other = "models:/aaa@champion"
    looking = watch(registry, rose=follower(other), iris=follower(), cell=follower("models:/cells@champion"))
    registry.errors["aaa"] = RegistryUnavailable("models:/aaa: HTTP 500")
    assert await looking.look() == {("team", "rose"), ("team", "iris"), ("team", "cell")}
    assert looking.trouble == "models:/aaa: HTTP 500"
    assert await looking.look() == {("team", "rose"), ("team", "iris"), ("team", "cell")}
    assert registry.asked == ["aaa", "cells", "shapes", "aaa"]
    lost = looking.lost(other)
    assert lost is not None
    assert (lost.reason, looking.trouble, looking.lost("models:/shapes@champion")) == (AWAY, "", None)
    registry.models["shapes"]["champion"] = Pointer("2")
    assert await looking.look() == {("team", "iris")}
    registry.errors.clear()
    registry.models["aaa"] = {"champion": Pointer("1")}
    assert await looking.look() == {("team", "rose")}
    assert looking.lost(other) is None


async def test_models_without_an_answer_take_turns():
    registry = Registry()
    registry.models["zebra"] = {"champion": Pointer("3")}
    looking = watch(registry, **{name: follower(f"models:/{name}@champion") for name in registry.models})
    registry.errors = {name: RegistryUnavailable(f"{name}: away") for name in ("cells", "shapes")}
    for _ in range(4):
        registry.asked.clear()
        await looking.look()
    assert registry.asked == ["zebra", "shapes"]
    await looking.look()
    assert registry.asked == ["zebra", "shapes", "zebra", "cells"]
    assert looking.pointer("models:/zebra@champion") == Pointer("3")
