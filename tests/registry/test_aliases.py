"""Moving an alias and reading who moved it, against a server that keeps what MLflow keeps."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from slipway.registry import (
    AliasMove,
    InvalidModelUri,
    InvalidMove,
    ModelNotFound,
    MovedElsewhere,
    Pointer,
    RegistryAddress,
    RegistryUnavailable,
    move_alias,
    read_aliases,
)
from slipway.registry.aliases import MAX_WHO_CHARS, MAX_WHY_CHARS, _pointer, render_tag

PRINTABLE = st.text(st.characters().filter(str.isprintable), max_size=MAX_WHY_CHARS)
PREFIX = "/api/2.0/mlflow/"


@dataclass
class Mlflow:
    """One registered model ``yolo`` with versions 1 to 3. ``refuses``: the path that answers ``status``."""

    aliases: dict[str, str] = field(default_factory=lambda: {"champion": "1"})
    tags: dict[str, str] = field(default_factory=dict)
    refuses: str = ""
    status: int = 503
    writes: list[str] = field(default_factory=list)
    body: Any = None

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix(PREFIX)
        if path == self.refuses and request.method == "POST":
            return web.json_response({"message": "maintenance"}, status=self.status)
        if request.method == "POST":
            return self._write(path, await request.json())
        if path == "model-versions/get":
            known = request.query["version"] in ("1", "2", "3")
            return web.json_response(
                {"model_version": {}} if known else {"message": "no such"}, status=200 if known else 404
            )
        model = {
            "name": "yolo",
            "aliases": [{"alias": alias, "version": version} for alias, version in self.aliases.items()],
            "tags": [{"key": key, "value": value} for key, value in self.tags.items()],
        }
        return web.json_response({"registered_model": model} if self.body is None else self.body)

    def _write(self, path: str, body: dict[str, str]) -> web.Response:
        self.writes.append(path)
        if path.endswith("set-tag"):
            self.tags[body["key"]] = body["value"]
        else:
            self.aliases[body["alias"]] = body["version"]
        return web.json_response({})


@pytest.fixture
async def mlflow() -> AsyncIterator[tuple[Mlflow, RegistryAddress]]:
    state = Mlflow()
    app = web.Application()
    app.router.add_route("*", PREFIX + "{path:.*}", state.answer)
    async with TestServer(app) as server:
        yield state, RegistryAddress(str(server.make_url("/")).rstrip("/"))


async def move(
    registry: RegistryAddress,
    version: str = "2",
    *,
    alias: str = "champion",
    only_from: tuple[str, ...] = (),
    **said: str,
) -> AliasMove:
    words = {"who": "ann", "why": "mAP 0.91", **said}
    async with aiohttp.ClientSession() as session:
        return await move_alias(
            "yolo", alias, version, **words, only_from=only_from, registry=registry, session=session
        )


async def read(registry: RegistryAddress) -> dict[str, Pointer]:
    async with aiohttp.ClientSession() as session:
        return dict(await read_aliases("yolo", registry=registry, session=session))


async def test_move_is_recorded_with_who_and_why_before_the_alias_moves(mlflow: tuple[Mlflow, RegistryAddress]) -> None:
    state, registry = mlflow
    made = await move(registry)
    assert (made.before, made.version, made.who, made.why) == ("1", "2", "ann", "mAP 0.91")
    assert state.writes == ["registered-models/set-tag", "registered-models/alias"]
    assert await read(registry) == {"champion": Pointer("2", "ann", "mAP 0.91", made.at)}


async def test_move_on_mlflows_own_page_has_no_author(mlflow: tuple[Mlflow, RegistryAddress]) -> None:
    state, registry = mlflow
    await move(registry)
    state.aliases["champion"] = "3"
    assert await read(registry) == {"champion": Pointer("3")}


async def test_refused_move_leaves_the_earlier_record(mlflow: tuple[Mlflow, RegistryAddress]) -> None:
    state, registry = mlflow
    first = await move(registry)
    state.refuses, state.status = "registered-models/alias", 400
    with pytest.raises(ModelNotFound, match="models:/yolo@champion to version 3"):
        await move(registry, "3", who="bob")
    assert await read(registry) == {"champion": Pointer("2", "ann", "mAP 0.91", first.at)}


async def test_move_that_may_have_been_made_keeps_its_record(mlflow: tuple[Mlflow, RegistryAddress]) -> None:
    state, registry = mlflow
    await move(registry)
    state.refuses = "registered-models/alias"
    with pytest.raises(RegistryUnavailable):
        await move(registry, "3", who="bob")
    assert await read(registry) == {"champion": Pointer("2")}
    state.aliases["champion"] = "3"
    assert (await read(registry))["champion"].who == "bob"


async def test_alias_is_moved_only_from_where_it_was_expected(mlflow: tuple[Mlflow, RegistryAddress]) -> None:
    state, registry = mlflow
    made = await move(registry, only_from=("1",))
    with pytest.raises(MovedElsewhere, match=f"to version 3: it names version 2 since ann moved it at {made.at}"):
        await move(registry, "3", only_from=("1", "3"))
    assert (state.aliases, len(state.writes)) == ({"champion": "2"}, 2)
    assert (await move(registry, "3", alias="new", only_from=("1",))).before is None


async def test_unknown_version_is_refused_before_anything_is_written(mlflow: tuple[Mlflow, RegistryAddress]) -> None:
    state, registry = mlflow
    with pytest.raises(ModelNotFound):
        await move(registry, "9")
    assert not state.writes


@pytest.mark.parametrize(
    ("version", "said", "error"),
    [
        ("latest", {}, InvalidModelUri),
        ("2", {"who": " "}, InvalidMove),
        ("2", {"who": "a" * (MAX_WHO_CHARS + 1)}, InvalidMove),
        ("2", {"why": "a" * (MAX_WHY_CHARS + 1)}, InvalidMove),
        ("2", {"why": "\udcff"}, InvalidMove),
    ],
)
async def test_unreadable_move_asks_nothing(version: str, said: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        await move(RegistryAddress("http://127.0.0.1:1"), version, **said)


@pytest.mark.parametrize("body", [{}, {"registered_model": []}, {"registered_model": {"aliases": [7]}}])
async def test_answer_of_another_shape_is_temporary(mlflow: tuple[Mlflow, RegistryAddress], body: Any) -> None:
    state, registry = mlflow
    state.body = body
    with pytest.raises(RegistryUnavailable, match="as MLflow does not"):
        await read(registry)


@given(
    st.text()
    | st.recursive(
        st.integers() | st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ).map(json.dumps)
)
def test_tag_of_any_content_names_no_other_version(tag: str) -> None:
    assert _pointer("7", tag).version == "7"


def test_record_cannot_drive_a_terminal() -> None:
    made = AliasMove("yolo", "champion", "2", "1", "ann\x1b[2J", "a\nb", "2026-01-01T00:00:00.000Z")
    assert _pointer("2", render_tag(made)) == Pointer("2", "ann [2J", "a b", made.at)


@given(PRINTABLE.filter(bool).filter(lambda text: len(text) <= MAX_WHO_CHARS), PRINTABLE)
def test_record_reads_back_as_written(who: str, why: str) -> None:
    made = AliasMove("yolo", "champion", "2", "1", who, why, "2026-01-01T00:00:00.000Z")
    assert _pointer("2", render_tag(made)) == Pointer("2", who, why, made.at)
    assert _pointer("3", render_tag(made)) == Pointer("3")
