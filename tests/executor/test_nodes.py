"""How nodes are called, timed out and counted: the contract's behaviours 1 to 8 over the wire, 35 to 38."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re

import pytest

from slipway.executor import rest_client
from slipway.executor.metrics import BUCKETS
from tests.executor.executors import Answer, executor
from tests.executor.nodes import Node, Reply, Seen, serving


async def hang(_: Seen) -> Reply:
    await asyncio.Event().wait()
    return Reply()


async def test_every_kind_of_call_has_its_path() -> None:
    first, router, combiner, model, last = (Node(name) for name in ("t", "r", "c", "m", "o"))
    router.rest = lambda seen: Reply(b'{"data":{"ndarray":[0]}}') if seen.path == "/route" else Reply()
    async with (
        serving(first, router, combiner, model, last),
        executor(
            last.graph(
                "OUTPUT_TRANSFORMER",
                first.graph("TRANSFORMER", router.graph("ROUTER", combiner.graph("COMBINER", model.graph("MODEL")))),
            )
        ) as client,
    ):
        assert (await client.post()).status == 200
        assert (await client.post(b"{}", path="/api/v1.0/feedback")).status == 200
    assert {node.name: [seen.path for seen in node.calls()] for node in (first, router, combiner, model, last)} == {
        "t": ["/transform-input"],
        "r": ["/route", "/send-feedback"],
        "c": ["/aggregate"],
        "m": ["/predict", "/send-feedback"],
        "o": ["/transform-output"],
    }


async def test_node_that_fails_in_the_middle_ends_the_chain_with_its_own_body() -> None:
    first, second = Node("a"), Node("b")
    first.rest = lambda _: Reply(b'{"status":{"info":"mine"}}', 500)
    async with serving(first, second), executor(first.graph("MODEL", second.graph("MODEL"))) as client:
        answer = await client.post()
    assert (answer.status, answer.body) == (500, b'{"status":{"info":"mine"}}')
    assert not second.calls()


async def test_rest_timeout_annotation_ends_a_slow_call() -> None:
    node = Node("a")
    node.rest = hang
    async with serving(node), executor(node.graph("MODEL"), annotations={"seldon.io/rest-timeout": "50"}) as client:
        answer = await client.post()
        await asyncio.wait_for(node.cancelled.wait(), 5)
    assert (answer.status, answer.headers["x-slipway-reason"]) == (504, "NODE_TIMEOUT")
    assert "Client.Timeout exceeded while awaiting headers" in json.loads(answer.body)["status"]["info"]


async def test_whole_request_has_a_deadline_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.executor.timeouts.REQUEST_DEADLINE_S", 0.1)
    node = Node("a")
    node.rest = hang
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post()
        await asyncio.wait_for(node.cancelled.wait(), 5)
    assert (answer.status, answer.headers["x-slipway-reason"]) == (504, "DEADLINE_EXCEEDED")


async def test_answer_above_the_limit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_client, "MAX_ANSWER_BYTES", 1000)
    node = Node("a")
    node.rest = lambda _: Reply(b"x" * 1001)
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post()
    assert (answer.status, answer.headers["x-slipway-reason"]) == (502, "NODE_ANSWER_TOO_LARGE")


async def test_large_body_passes_unchanged() -> None:
    node = Node("a")
    body = bytes(range(256)) * 20_000
    async with serving(node), executor(node.graph("MODEL")) as client:
        node.rest = lambda seen: Reply(seen.body, headers={"Content-Type": "application/octet-stream"})
        answer = await client.post(io.BytesIO(body), headers={"Content-Type": "application/octet-stream"})
    assert answer.body == body


async def answer_of_node_that_writes(raw: bytes) -> Answer:
    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # a readiness check only connects
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(write, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    endpoint = {"service_host": "127.0.0.1", "service_port": port, "httpPort": port, "grpcPort": port}
    async with server, executor({"name": "a", "type": "MODEL", "endpoint": endpoint}, ready=False) as client:
        return await client.post()


@pytest.mark.parametrize("status", [b"200 OK", b"409 Conflict"])
@pytest.mark.parametrize("header", ["Content-Type", "Content-Encoding", "x-slipway-model", "x-slipway-reason"])
async def test_header_of_a_node_that_cannot_be_passed_on_costs_no_answer(header: str, status: bytes) -> None:
    raw = b"HTTP/1.1 %b\r\n%b: a\x01b\r\nContent-Length: 2\r\n\r\n{}" % (status, header.encode())
    answer = await answer_of_node_that_writes(raw)
    assert (answer.status, answer.body) == (int(status[:3]), b"{}")
    assert not any("\x01" in value for value in answer.headers.values())


async def test_node_that_breaks_off_is_unreachable() -> None:
    answer = await answer_of_node_that_writes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    assert (answer.status, answer.headers["x-slipway-reason"]) == (503, "NODE_UNREACHABLE")


async def test_connections_to_nodes_are_kept() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        for _ in range(5):
            await client.post()
    peers = {seen.peer for seen in node.calls()}
    assert len(peers) == 1


async def test_metrics_have_the_contract_s_names_labels_and_buckets() -> None:
    node = Node("a")
    containers = [{"name": "a", "image": "repo/img:0.3"}]
    async with (
        serving(node),
        executor(
            node.graph("MODEL"), componentSpecs=[{"spec": {"containers": containers}}], annotations_of={"version": "v7"}
        ) as client,
    ):
        await client.post()
        text = (await client.get("/prometheus")).body.decode()
    server = 'code="200",deployment_name="dep",method="post",predictor_name="main",predictor_version="v7"'
    assert f'seldon_api_executor_server_requests_seconds_count{{{server},service="predictions"}} 1.0' in text
    client_labels = (
        'code="200",deployment_name="dep",method="post",model_image="repo/img",model_name="a",model_version="0.3",'
        'predictor_name="main",predictor_version="v7",service="/predict"'
    )
    assert f"seldon_api_executor_client_requests_seconds_count{{{client_labels}}} 1.0" in text
    bounds = re.findall(r'server_requests_seconds_bucket\{.*le="([^"]+)"', text)
    assert [float(bound) for bound in bounds] == [*BUCKETS, float("inf")]
    quantiles = re.findall(r'server_requests_seconds_summary\{.*quantile="([^"]+)"', text)
    assert quantiles == ["0.5", "0.75", "0.9", "0.98", "0.99", "1"]


async def test_metrics_of_grpc_name_the_method_and_the_code() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.call(b"")
        text = (await client.get("/prometheus")).body.decode()
    assert 'code="OK",deployment_name="dep",method="unary"' in text
    assert 'service="/seldon.protos.Seldon/Predict"' in text
    assert 'service="/seldon.protos.Model/Predict"' in text


async def test_graph_metadata_shows_models_and_edges() -> None:
    first, model = Node("t"), Node("m")
    first.metadata = Reply(b'{"name":"t","inputs":[{"name":"in"}],"outputs":[]}')
    model.metadata = Reply(b'{"name":"m","inputs":[],"outputs":[{"name":"out"}]}')
    async with serving(first, model), executor(first.graph("TRANSFORMER", model.graph("MODEL"))) as client:
        described = json.loads((await client.get("/api/v1.0/metadata")).body)
    assert (described["name"], sorted(described["models"])) == ("main", ["m", "t"])
    assert (described["graphinputs"], described["graphoutputs"]) == ([{"name": "in"}], [{"name": "out"}])


async def test_wire_is_learned_before_the_executor_is_ready_and_again_from_every_answer() -> None:
    node = Node("a", metadata=Reply(b"{}", headers={"x-slipway-wire": "protobuf"}))
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.post(headers={"Accept": "text/plain"})
        await client.post(headers={"Accept": "text/plain"})
    assert [seen.headers["Accept"] for seen in node.calls()] == ["application/json", "text/plain"]
