"""Which version a node runs, and when the registry is asked."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.following import Following, NodeModel, Revision
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.models import (
    LOOK_AGAIN_S,
    Reference,
    Resolved,
    followed,
    known_by_following,
    known_by_status,
    references,
    resolve_models,
)
from slipway.registry import ModelNotFound, Pointer, RegistryUnavailable, ResolvedModel
from tests.contract.manifests import Manifest, node, predictor, sdep

CHAMPION = "models:/shapes@champion"
FOLLOW = {"annotations": {"slipway.dev/follow-alias": "true"}}


class Registry:
    def __init__(self, version: str = "1") -> None:
        self.version = version
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def __call__(self, wanted: Reference) -> ResolvedModel:
        self.asked.append(wanted.uri)
        if self.error:
            raise self.error
        return ResolvedModel("shapes", self.version, None, f"s3://models/{self.version}", alias="champion")


def parsed(uri: str = CHAMPION, *, spec: Manifest | None = None, **fields: Any) -> SeldonDeployment:
    graph = node(modelUri=uri, **fields.pop("graph", {}))
    return SeldonDeployment.from_json(sdep(predictor(graph=graph, **fields), **(spec or {})))


async def look(item: SeldonDeployment, registry: Registry, before: Resolved | None = None) -> Resolved:
    entries = [entry for _, entry in before.pairs] if before else []
    return await resolve_models(item, lambda wanted: known_by_status(entries, wanted), registry)


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
    assert second.again_s == RegistryUnavailable.retry_after_s
    assert second.models == first.models
    assert second.pairs[0][1] == first.pairs[0][1], "so that it is asked for again"


async def test_registry_without_an_answer_is_asked_once_a_look():
    registry = Registry()
    item = SeldonDeployment.from_json(
        sdep(predictor("one", graph=node(modelUri=CHAMPION)), predictor("two", graph=node(modelUri=CHAMPION)))
    )
    edited = SeldonDeployment.from_json(
        sdep(*(predictor(name, graph=node(modelUri=CHAMPION), labels={"a": "b"}) for name in ("one", "two")))
    )
    first = await look(item, registry)
    registry.asked, registry.error = [], RegistryUnavailable("maintenance")
    second = await look(edited, registry, first)
    assert (len(registry.asked), second.models) == (1, first.models)


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


def following(*versions: str, rejected: str = "") -> Following:
    """Wanted first, then the previous one."""
    item = parsed(spec=FOLLOW)
    (uri,) = [reference.uri for reference in references(item)]
    made = [Revision("v" + v, (NodeModel("clf", uri, "shapes", v, "", f"s3://models/{v}"),)) for v in versions]
    previous = made[1] if len(made) > 1 else None
    return Following("main", made[0], previous, rejected={"clf": rejected} if rejected else {})


@pytest.mark.parametrize(
    ("state", "pointer", "version", "is_current"),
    [
        (following("2"), None, "2", True),
        (following("2"), Pointer("2"), "2", True),
        (following("2"), Pointer("3"), "2", False),
        (following("2", "1"), Pointer("1"), "1", True),
        (following("1", "2", rejected="2"), Pointer("2"), "1", True),
        (following("1", "2", rejected="2"), Pointer("3"), "1", False),
    ],
)
def test_followed_alias_is_asked_for_only_where_it_points_to_something_unknown(state, pointer, version, is_current):
    (wanted,) = references(parsed(spec=FOLLOW))
    known = known_by_following(state, wanted, pointer)
    assert known is not None
    assert known.entry is not None
    assert (known.entry["version"], known.is_current) == (version, is_current)


def test_revisions_of_another_graph_say_nothing():
    other = Reference(("main", "other"), CHAMPION, "r", is_followed=True)
    assert known_by_following(following("2"), other, None) is None
    assert known_by_following(following("2"), Reference(("main", "clf"), "models:/shapes@b", "r"), None) is None


async def test_followed_alias_that_is_gone_keeps_the_last_answer():
    registry = Registry()
    item = parsed(spec=FOLLOW)
    first = await look(item, registry)
    registry.error = ModelNotFound("no alias")
    edited = parsed(spec=FOLLOW, labels={"a": "b"})
    second = await look(edited, registry, first)
    assert second.again_s == LOOK_AGAIN_S
    assert second.models == first.models


def test_only_a_named_alias_can_be_followed():
    assert followed(parsed(spec=FOLLOW)) == {"main": {"clf": CHAMPION}}
    assert followed(parsed(annotations=FOLLOW["annotations"])) == {"main": {"clf": CHAMPION}}
    assert not followed(parsed(spec=FOLLOW, annotations={"slipway.dev/follow-alias": "false"}))
    assert not followed(parsed("models:/shapes/1", spec=FOLLOW))
    assert not followed(parsed())


@pytest.mark.parametrize("uri", ["s3://bucket/m", "file:///m", "pvc://claim/m"])
def test_places_need_no_registry(uri):
    assert list(references(parsed(uri))) == []
