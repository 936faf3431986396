"""What an executor says of itself over REST: headers of every answer, status, metadata, readiness, the list of its paths."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.executor.executors import PREDICTIONS, executor
from tests.executor.nodes import Node, Reply, serving
from tests.waiting import eventually


async def test_live_answers_200_even_while_nodes_are_missing() -> None:
    async with executor({"name": "a", "type": "MODEL"}, ready=False) as client:
        assert (await client.get("/live")).status == 200
        assert (await client.get("/ready")).status == 503


@pytest.mark.parametrize("version", ["v1.0", "v0.1"])
async def test_openapi_and_its_page_are_of_the_deployment(version: str) -> None:
    async with executor({"name": "a", "type": "MODEL"}, ready=False) as client:
        document = await client.get(f"/api/{version}/doc/seldon.json")
        page = await client.get(f"/api/{version}/doc/")
    described = json.loads(document.body)
    assert described["openapi"].startswith("3.")
    assert (described["info"]["title"], described["servers"]) == ("dep", [{"url": "/seldon/ns/dep"}])
    assert {PREDICTIONS, "/api/v0.1/feedback", "/api/v1.0/metadata"} <= described["paths"].keys()
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert PREDICTIONS.encode() in page.body


async def test_every_answer_is_signed_and_not_sniffed() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        answers = [
            await client.post(),
            await client.get("/live"),
            await client.get("/nothing"),
            await client.get(PREDICTIONS),
        ]
    assert [answer.status for answer in answers] == [200, 200, 404, 405]
    assert {answer.headers["x-slipway-predictor"] for answer in answers} == {"main"}
    assert {answer.headers["X-Content-Type-Options"] for answer in answers} == {"nosniff"}


async def test_cloud_event_headers_appear_only_when_asked_for() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        plain = await client.post()
        event = await client.post(headers={"Ce-Specversion": "1.0", "Seldon-Puid": "p"})
    assert not [name for name in plain.headers if name.startswith("Ce-")]
    assert {name: value for name, value in event.headers.items() if name.startswith("Ce-")} == {
        "Ce-Id": "p",
        "Ce-Specversion": "0.3",
        "Ce-Path": PREDICTIONS,
        "Ce-Type": "seldon.dep.ns.response",
        "Ce-Source": "seldon.dep",
    }


async def test_cors_defaults_on_every_answer_and_options() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        answers = [await client.get("/live"), await client.ask("OPTIONS", PREDICTIONS)]
    assert [(answer.status, answer.body) for answer in answers] == [(200, b""), (200, b"")]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "X-CSRF-Token" in answer.headers["Access-Control-Allow-Headers"]


async def test_cors_is_set_by_the_environment() -> None:
    environment = {"CORS_ALLOWED_ORIGINS": "http://here", "CORS_ALLOWED_HEADERS": "X-Only"}
    async with executor({"name": "a", "type": "MODEL"}, environment=environment, ready=False) as client:
        answer = await client.ask("OPTIONS", PREDICTIONS)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://here"
    assert answer.headers["Access-Control-Allow-Headers"] == "X-Only"


@pytest.mark.parametrize("path", ["/api/v1.0/status/b", "/api/v0.1/status/b"])
async def test_status_of_a_node_passes_its_health(path: str) -> None:
    node = Node("b")
    node.rest = lambda _: Reply(b'{"strData":"healthy"}')
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.get(path)
    assert (answer.status, answer.body) == (200, b'{"strData":"healthy"}')
    assert [seen.path for seen in node.calls()] == ["/health/status"]


@pytest.mark.parametrize("path", ["/api/v1.0/status", "/api/v1.0/health/status", "/ready"])
async def test_status_of_the_graph_is_its_readiness(path: str) -> None:
    node = Node("b")
    async with serving(node), executor(node.graph("MODEL")) as client:
        assert (await client.get(path)).status == 200


@pytest.mark.parametrize("path", ["/api/v1.0/metadata/b", "/api/v0.1/metadata/b"])
async def test_metadata_of_a_node_passes_through(path: str) -> None:
    node = Node("b", metadata=Reply(b'{"name": "n",  "custom": 1}'))
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.get(path)
    assert (answer.status, answer.body) == (200, b'{"name": "n",  "custom": 1}')


@pytest.mark.parametrize("path", ["/api/v1.0/status/nobody", "/api/v1.0/metadata/nobody"])
async def test_unknown_node_is_named_in_the_error(path: str) -> None:
    async with executor({"name": "a", "type": "MODEL"}, ready=False) as client:
        answer = await client.get(path)
    assert answer.status == 500
    assert json.loads(answer.body)["status"]["info"] == "predictor main has no node 'nobody'; it has a"


async def test_ready_turns_503_when_a_node_goes_and_back_when_it_returns() -> None:
    node = Node("a")
    async with serving(node):
        pass
    async with executor(node.graph("MODEL"), ready=False) as client:
        assert not await client.is_ready()
        async with serving(node):
            await eventually(client.is_ready)
        await eventually(lambda: _not(client))


async def _not(client: Any) -> bool:
    return not await client.is_ready()


async def test_full_health_checks_ask_the_node_s_health() -> None:
    node = Node("a")
    node.rest = lambda _: Reply(b"{}", 503)
    async with serving(node), executor(node.graph("MODEL"), flags=["--full_health_checks=true"], ready=False) as client:
        await eventually(lambda: "/api/v1.0/health/status" in [seen.path for seen in node.seen])
        assert not await client.is_ready()
        node.rest = lambda _: Reply()
        await eventually(client.is_ready)


async def test_draining_executor_is_not_ready_and_still_answers() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        client.lifecycle.start_draining()
        assert (await client.get("/ready")).status == 503
        assert (await client.post()).status == 200
