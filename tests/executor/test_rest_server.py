"""Messages through the REST surface with real nodes behind it: what reaches nodes, what comes back (contract behaviours 19 to 32)."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import uuid

import aiohttp
import pytest
from multidict import CIMultiDict

from slipway.contract.headers import ANSWERED_BY
from slipway.contract.limits import MAX_BODY_BYTES
from tests.executor.executors import PREDICTIONS, executor
from tests.executor.nodes import Node, Reply, Seen, serving


@pytest.mark.parametrize("path", [PREDICTIONS, "/api/v0.1/predictions"])
async def test_predictions_answer_what_the_node_answered(path: str) -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post(path=path)
    assert (answer.status, answer.body) == (200, b'{"data":{"ndarray":[[1]]}}')
    assert answer.headers["Content-Type"] == "application/json"
    assert [seen.path for seen in node.calls()] == ["/predict"]


async def test_puid_is_generated_and_sent_to_every_node() -> None:
    first, second = Node("a"), Node("b")
    async with serving(first, second), executor(first.graph("MODEL", second.graph("MODEL"))) as client:
        puid = (await client.post()).headers["Seldon-Puid"]
    assert len(puid) == 36
    assert uuid.UUID(puid).version == 4
    assert [seen.headers["Seldon-Puid"] for seen in (*first.calls(), *second.calls())] == [puid, puid]


async def test_client_s_puid_is_kept() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post(headers={"Seldon-Puid": "mine"})
    assert answer.headers["Seldon-Puid"] == node.calls()[0].headers["Seldon-Puid"] == "mine"


async def test_client_s_body_and_headers_reach_the_node_untouched() -> None:
    node = Node("a")
    photo = bytes(range(256)) * 50
    sent = {"Content-Type": "image/jpeg", "X-Mine": "1", "Connection": "keep-alive", "Accept": "*/*"}
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.post(photo, headers=sent)
    seen = node.calls()[0]
    assert seen.body == photo
    assert (seen.headers["Content-Type"], seen.headers["X-Mine"]) == ("image/jpeg", "1")


async def test_multipart_passes_with_its_boundary() -> None:
    node = Node("a")
    form = aiohttp.FormData()
    form.add_field("image", b"\xff\xd8", filename="p.jpg", content_type="image/jpeg")
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.ask("POST", PREDICTIONS, data=form)
    seen = node.calls()[0]
    boundary = seen.headers["Content-Type"].partition("boundary=")[2]
    assert seen.body.startswith(f"--{boundary}".encode())


@pytest.mark.parametrize("status", [409, 500, 201, 429])
async def test_node_s_error_passes_with_status_and_body(status: int) -> None:
    node = Node("a")
    said = {"Content-Type": "application/json", "x-slipway-reason": "IMAGE_UNDECODABLE"}
    node.rest = lambda _: Reply(b'{"my":"<error>"}', status, said)
    async with serving(node), executor(node.graph("MODEL", Node("b").graph("MODEL")), ready=False) as client:
        answer = await client.post()
    assert (answer.status, answer.body) == (status, b'{"my":"<error>"}')
    assert answer.headers["x-slipway-reason"] == "IMAGE_UNDECODABLE"
    assert answer.headers["x-slipway-predictor"] == "main"


async def test_unreachable_node_is_503_with_its_name() -> None:
    async with executor({"name": "a", "type": "MODEL"}, ready=False) as client:
        answer = await client.post()
    status = json.loads(answer.body)["status"]
    assert (answer.status, answer.headers["x-slipway-reason"]) == (503, "NODE_UNREACHABLE")
    assert (status["code"], status["reason"], status["status"]) == (503, "NODE_UNREACHABLE", "FAILURE")
    assert "node a" in status["info"]


async def test_router_with_a_bad_route_is_a_clear_500() -> None:
    router, child = Node("r"), Node("a")
    router.rest = lambda _: Reply(b'{"data":{"ndarray":[[5]]}}')
    async with serving(router, child), executor(router.graph("ROUTER", child.graph("MODEL"))) as client:
        answer = await client.post()
        assert (await client.get("/live")).status == 200
    assert answer.status == 500
    assert json.loads(answer.body)["status"]["info"] == "router r: route 5 names no child; it has 1 (0..0, -1, -2)"


async def test_html_characters_of_json_are_escaped_and_nothing_else() -> None:
    node = Node("a")
    node.rest = lambda _: Reply('{"strData":"<a>&\u2028 é ✓"}'.encode())
    async with serving(node), executor(node.graph("MODEL")) as client:
        body = (await client.post()).body
    assert body == '{"strData":"\\u003ca\\u003e\\u0026\\u2028 é ✓"}'.encode()


async def test_compressed_answer_passes_to_a_client_that_takes_it_and_is_inflated_for_others() -> None:
    node = Node("a")
    packed = gzip.compress(b'{"strData":"x"}')
    node.rest = lambda _: Reply(packed, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})
    async with serving(node), executor(node.graph("MODEL")) as client:
        taken = await client.post(headers={"Accept-Encoding": "gzip"})
        inflated = await client.post(headers={"Accept-Encoding": "identity"})
    assert (taken.body, taken.headers["Content-Encoding"]) == (packed, "gzip")
    assert (inflated.body, inflated.headers.get("Content-Encoding")) == (b'{"strData":"x"}', None)


async def test_nodes_are_asked_for_encodings_that_the_executor_reads() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        for asked in ("br, gzip;q=0.5, *", "zstd"):
            await client.post(headers={"Accept-Encoding": asked})
    assert [seen.headers["Accept-Encoding"] for seen in node.calls()] == ["gzip;q=0.5", "identity"]


async def test_chain_that_grows_above_what_a_node_takes_is_the_graph_s_fault_not_the_client_s() -> None:
    first, second = Node("a"), Node("b")
    second.rest = lambda _: Reply(b"too much", status=413)
    async with serving(first, second), executor(first.graph("TRANSFORMER", second.graph("MODEL"))) as client:
        grown = await client.post()
    async with serving(second), executor(second.graph("MODEL")) as client:
        own = await client.post()
    assert (grown.status, grown.headers["x-slipway-reason"]) == (502, "NODE_ANSWER_TOO_LARGE")
    assert "node b does not take 26 bytes of other nodes' answers" in json.loads(grown.body)["status"]["info"]
    assert (own.status, own.body) == (413, b"too much")


async def test_binary_tensors_behind_json_are_not_escaped() -> None:
    node = Node("a")
    head, tail = b'{"outputs":[]}', b"<&>\x00"
    said = {"Content-Type": "application/json", "Inference-Header-Content-Length": str(len(head))}
    node.rest = lambda _: Reply(head + tail, headers=said)
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post()
    assert (answer.body, answer.headers["Inference-Header-Content-Length"]) == (head + tail, str(len(head)))


async def test_body_above_the_limit_is_413() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post(io.BytesIO(b"x" * (MAX_BODY_BYTES + 1)))
    assert answer.status == 413
    assert not node.calls()


async def test_client_writes_no_lines_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    node = Node("a")
    caplog.set_level(logging.INFO, logger="slipway.executor")
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.get("/api/v1.0/status/b%0d%0aready:%20all%E2%80%A8")
    lines = [record.getMessage() for record in caplog.records if "b" in record.getMessage()]
    assert [line for line in lines if len(line.splitlines()) > 1] == []
    assert any(r"has no node 'b\r\nready" in line for line in lines)


async def test_server_timing_has_one_entry_per_node() -> None:
    first, second = Node("a"), Node("b")
    async with (
        serving(first, second),
        executor(
            first.graph("UNKNOWN_TYPE", second.graph("MODEL"), methods=["TRANSFORM_INPUT", "TRANSFORM_OUTPUT"])
        ) as client,
    ):
        timing = (await client.post()).headers["Server-Timing"]
    assert sorted(entry.partition(";")[0] for entry in timing.split(", ")) == ["a", "b"]
    assert all(float(entry.partition("dur=")[2]) > 0 for entry in timing.split(", "))


async def test_model_of_a_node_is_named_on_the_answer_and_other_headers_are_not() -> None:
    node = Node("a")
    said = {"Content-Type": "application/json", "x-slipway-model": "yolo/3 sha256:ab", "X-Private": "1"}
    node.rest = lambda _: Reply(headers=said)
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post()
    assert answer.headers["x-slipway-model"] == "yolo/3 sha256:ab"
    assert "X-Private" not in answer.headers


async def test_feedback_answers_200_with_the_root_s_reply_or_itself() -> None:
    model, transformer = Node("m"), Node("t")
    body = b'{"request":{"strData":"x"},"reward":1}'
    async with serving(model, transformer), executor(transformer.graph("TRANSFORMER", model.graph("MODEL"))) as client:
        answer = await client.post(body, path="/api/v1.0/feedback")
    assert (answer.status, answer.body) == (200, body)
    assert [(seen.path, seen.body) for seen in model.calls()] == [("/send-feedback", body)]
    assert not transformer.calls()


async def test_feedback_follows_the_recorded_routing() -> None:
    router, left, right = Node("r"), Node("l"), Node("x")
    body = json.dumps({"response": {"meta": {"routing": {"r": 1}}}, "reward": 1}).encode()
    async with (
        serving(router, left, right),
        executor(router.graph("ROUTER", left.graph("MODEL"), right.graph("MODEL"))) as client,
    ):
        assert (await client.post(body, path="/api/v0.1/feedback")).status == 200
    assert [len(node.calls()) for node in (router, left, right)] == [1, 0, 1]


async def test_feedback_about_another_predictor_s_reply_is_refused_and_counted_nowhere() -> None:
    node, path = Node("m"), "/api/v1.0/feedback"
    async with serving(node), executor(node.graph("MODEL")) as client:
        for others in ([(ANSWERED_BY, "gone")], [(ANSWERED_BY, "main"), (ANSWERED_BY, "gone")]):
            refused = await client.ask("POST", path, data=b'{"reward":1}', headers=CIMultiDict(others))
            said = json.loads(refused.body)["status"]
            assert (refused.status, said["reason"]) == (404, "FEEDBACK_PREDICTOR_UNKNOWN")
            assert "gone' (slipway-predictor), and this is 'main': it was not counted" in said["info"]
        assert not node.calls()
        own = await client.post(b'{"reward":1}', path=path, headers={ANSWERED_BY: "main"})
        assert (own.status, len(node.calls())) == (200, 1)
        assert ANSWERED_BY not in node.calls()[0].headers, "a node may be another deployment's"
        assert (await client.post(headers={ANSWERED_BY: "gone"})).status == 200, "predictions are nobody's"


async def test_routing_is_injected_where_meta_is_and_only_when_asked_for() -> None:
    node = Node("a")
    node.rest = lambda _: Reply(b'{"meta":{"tags":{}},"strData":"x"}')
    async with serving(node):
        async with executor(node.graph("MODEL")) as client:
            assert b"routing" not in (await client.post()).body
        async with executor(node.graph("MODEL"), environment={"SELDON_ENABLE_ROUTING_INJECTION": "1"}) as client:
            assert json.loads((await client.post()).body)["meta"] == {"tags": {}, "routing": {"a": -1}}
            node.rest = lambda _: Reply(b'{"strData":"x"}')
            assert (await client.post()).body == b'{"strData":"x"}'


async def test_routes_taken_are_named_in_a_header() -> None:
    router, left, right = Node("r"), Node("x"), Node("y")
    router.rest = lambda _: Reply(b'{"data":{"ndarray":[[1]]}}')
    right.rest = lambda _: Reply(b"no", status=418)
    async with (
        serving(router, left, right),
        executor(router.graph("ROUTER", left.graph("MODEL"), right.graph("MODEL"))) as client,
        executor(left.graph("MODEL")) as chain,
    ):
        refused = await client.post()
        right.rest = lambda _: Reply()
        answered = await client.post()
        plain = await chain.post()
    assert (refused.status, answered.status) == (418, 200)
    assert refused.headers["x-slipway-routing"] == answered.headers["x-slipway-routing"] == '{"r":1}'
    assert "x-slipway-routing" not in plain.headers


async def test_combiner_gets_a_json_array_of_its_children() -> None:
    combiner, left, right = Node("c"), Node("l"), Node("r")
    left.rest = lambda _: Reply(b'{"strData":"left"}')
    right.rest = lambda _: Reply(b'{"strData":"right"}')
    async with (
        serving(combiner, left, right),
        executor(combiner.graph("COMBINER", left.graph("MODEL"), right.graph("MODEL"))) as client,
    ):
        assert (await client.post()).status == 200
        left.rest = lambda _: Reply(b"not json")
        bad = await client.post()
    seen = combiner.calls()
    assert [(one.path, one.body) for one in seen] == [("/aggregate", b'[{"strData":"left"},{"strData":"right"}]')]
    assert (bad.status, bad.headers["x-slipway-reason"]) == (500, "COMBINE_INVALID")


def speaks_protobuf(node: Node, body: bytes = b"\x2a\x01x") -> Node:
    """The node takes protobuf and gives what it is asked for."""

    def answer(seen: Seen) -> Reply:
        wants = "x-protobuf" in seen.headers.get("Accept", "")
        kind = "application/x-protobuf" if wants else "application/json"
        said = {"Content-Type": kind, "x-slipway-wire": "protobuf"}
        return Reply(body if wants else b'{"strData":"x"}', headers=said)

    node.rest = answer
    node.metadata.headers["x-slipway-wire"] = "protobuf"
    return node


async def test_protobuf_travels_between_nodes_that_take_it_and_the_client_gets_json() -> None:
    first, second = speaks_protobuf(Node("a")), speaks_protobuf(Node("b"))
    async with serving(first, second), executor(first.graph("TRANSFORMER", second.graph("MODEL"))) as client:
        answer = await client.post(b'{"strData":"in"}', headers={"Accept": "text/html, */*"})
    got, then = first.calls()[0], second.calls()[0]
    assert (got.body, got.headers["Content-Type"]) == (b'{"strData":"in"}', "application/json")
    assert (then.body, then.headers["Content-Type"]) == (b"\x2a\x01x", "application/x-protobuf")
    assert (answer.body, answer.headers["Content-Type"]) == (b'{"strData":"x"}', "application/json")


async def test_client_that_accepts_protobuf_gets_it() -> None:
    node = speaks_protobuf(Node("a"))
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post(
            b"\x2a\x01i", headers={"Accept": "application/x-protobuf", "Content-Type": "application/x-protobuf"}
        )
    assert (answer.body, answer.headers["Content-Type"]) == (b"\x2a\x01x", "application/x-protobuf")


async def test_client_that_takes_protobuf_alone_gets_it_from_a_node_that_has_none() -> None:
    node = Node("a")
    node.rest = lambda _: Reply(b'{"strData":"x"}')
    async with serving(node), executor(node.graph("MODEL")) as client:
        made = await client.post(headers={"Accept": "application/x-protobuf"})
        node.rest = lambda _: Reply(b'{"no":"SeldonMessage"}')
        other = await client.post(headers={"Accept": "application/x-protobuf"})
    assert (made.body, made.headers["Content-Type"]) == (b"\x2a\x01x", "application/x-protobuf")
    assert (other.body, other.headers["Content-Type"]) == (b'{"no":"SeldonMessage"}', "application/json")


async def test_client_that_leaves_cancels_the_call_of_the_node() -> None:
    node = Node("a")
    arrived = asyncio.Event()

    async def never(_: Seen) -> Reply:
        arrived.set()
        await asyncio.Event().wait()
        return Reply()

    node.rest = never
    async with serving(node), executor(node.graph("MODEL")) as client:
        request = asyncio.create_task(client.post())
        await asyncio.wait_for(arrived.wait(), 5)
        request.cancel()
        await asyncio.wait_for(node.cancelled.wait(), 5)


async def test_requests_above_the_limit_are_429(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.executor.engine.MAX_IN_FLIGHT", 1)
    node = Node("a")
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(_: Seen) -> Reply:
        arrived.set()
        await release.wait()
        return Reply()

    node.rest = slow
    async with serving(node), executor(node.graph("MODEL")) as client:
        first = asyncio.create_task(client.post())
        await asyncio.wait_for(arrived.wait(), 5)
        refused = await client.post()
        release.set()
        assert (await first).status == 200
    assert (refused.status, refused.headers["x-slipway-reason"]) == (429, "OVERLOADED")


async def test_endless_puid_is_replaced() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post(headers={"Seldon-Puid": "p" * 257})
    assert answer.status == 200
    assert len(answer.headers["Seldon-Puid"]) == 36
    assert node.calls()[0].headers["Seldon-Puid"] == answer.headers["Seldon-Puid"]
