"""Which version a node runs, and when the registry is asked."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.models import Resolved, follows_alias, references, resolve_models
from slipway.registry import ModelNotFound, RegistryUnavailable, ResolvedModel
from tests.contract.manifests import Manifest, node, predictor, sdep

CHAMPION = "models:/shapes@champion"


class Registry:
    def __init__(self, version: str = "1") -> None:
        self.version = version
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def __call__(self, uri: str) -> ResolvedModel:
        self.asked.append(uri)
        if self.error:
            raise self.error
        return ResolvedModel("shapes", self.version, None, f"s3://models/{self.version}", alias="champion")


def parsed(uri: str = CHAMPION, *, spec: Manifest | None = None, **fields: Any) -> SeldonDeployment:
    graph = node(modelUri=uri, **fields.pop("graph", {}))
    return SeldonDeployment.from_json(sdep(predictor(graph=graph, **fields), **(spec or {})))


async def look(
    item: SeldonDeployment, registry: Registry, known: Resolved | None = None, *, again: bool = False
) -> Any:
    return await resolve_models(item, known.entries if known else (), registry, look_again=again)


async def test_registry_is_asked_once_and_the_answer_kept():
    registry = Registry()
    first = await look(parsed(), registry)
    registry.version = "2"
    second = await look(parsed(traffic=100, replicas=3), registry, first)
    assert registry.asked == [CHAMPION]
    assert second.models == first.models
    assert second.models["main", "clf"].version == "1"


async def test_edit_of_the_predictor_asks_for_an_alias_again_but_not_for_a_number():
    edited = {"parameters": [{"name": "n", "value": "1", "type": "INT"}]}
    for uri, expected in ((CHAMPION, "2"), ("models:/shapes/1", "1")):
        registry = Registry()
        first = await look(parsed(uri), registry)
        registry.version = "2"
        second = await look(parsed(uri, graph=edited), registry, first)
        assert second.models["main", "clf"].version == expected


async def test_changed_uri_is_asked_for():
    registry = Registry()
    first = await look(parsed("models:/shapes/1"), registry)
    await look(parsed("models:/shapes/2"), registry, first)
    assert registry.asked == ["models:/shapes/1", "models:/shapes/2"]


async def test_last_answer_holds_while_the_registry_is_away():
    registry = Registry()
    first = await look(parsed(), registry)
    registry.error = RegistryUnavailable("maintenance")
    second = await look(parsed(labels={"a": "b"}), registry, first)
    assert second.is_stale
    assert second.models == first.models
    assert second.entries == first.entries, "so that it is asked for again"


async def test_registry_that_never_answered_is_an_error():
    registry = Registry()
    registry.error = RegistryUnavailable("maintenance")
    with pytest.raises(RegistryUnavailable):
        await look(parsed(), registry)


async def test_alias_that_is_gone_is_an_error_even_with_an_older_answer():
    registry = Registry()
    first = await look(parsed(), registry)
    registry.error = ModelNotFound("no alias")
    with pytest.raises(ModelNotFound):
        await look(parsed(labels={"a": "b"}), registry, first)


async def test_followed_alias_is_looked_up_again():
    registry = Registry()
    follow = {"annotations": {"slipway.dev/follow-alias": "true"}}
    first = await look(parsed(spec=follow), registry)
    registry.version = "2"
    second = await look(parsed(spec=follow), registry, first, again=True)
    assert second.models["main", "clf"].version == "2"


def test_only_a_named_alias_can_be_followed():
    follow = {"annotations": {"slipway.dev/follow-alias": "true"}}
    assert follows_alias(parsed(spec=follow))
    assert not follows_alias(parsed("models:/shapes/1", spec=follow))
    assert not follows_alias(parsed())


@pytest.mark.parametrize("uri", ["s3://bucket/m", "file:///m", "pvc://claim/m"])
def test_places_need_no_registry(uri):
    assert list(references(parsed(uri))) == []
