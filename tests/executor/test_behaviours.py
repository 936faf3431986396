"""Behaviours of the contract's list (§6, 9 to 58), each under a name of its own, and what Seldon's executor panics on."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from yarl import URL

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.errors import SettingError
from slipway.executor.payload import Payload
from slipway.executor.routes import parse_route
from slipway.executor.settings import parse_settings
from tests.executor.executors import Executor, executor
from tests.executor.nodes import Node, Refusal, Reply, Seen, serving

PREDICTIONS, FEEDBACK = "/api/v1.0/predictions", "/api/v1.0/feedback"
GRPC_FEEDBACK = "/seldon.protos.Seldon/SendFeedback"
TEXT = pb.SeldonMessage(strData="in")


def to_child(number: float) -> pb.SeldonMessage:
    """A router's answer."""
    return pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[1], values=[number])))


@pytest.mark.parametrize("given", [None, "", "p" * 257])
async def test_no_node_is_called_without_a_puid(given: str | None) -> None:
    node = Node("a")
    own = {} if given is None else {"seldon-puid": given}
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.post(headers=own)
        await client.post(b"{}", path=FEEDBACK, headers=own)
        await client.call(TEXT, metadata=tuple(own.items()))
        await client.call(pb.Feedback(reward=1), GRPC_FEEDBACK, metadata=tuple(own.items()))
    puids = [seen.headers["Seldon-Puid"] for seen in node.calls()]
    puids += [metadata["seldon-puid"] for method, metadata, _ in node.grpc_seen if "Metadata" not in method]
    assert [len(puid) for puid in puids] == [36] * 4
    assert len(set(puids)) == 4


async def test_puid_of_36_characters_is_on_the_response_when_absent() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        assert len((await client.post()).headers["Seldon-Puid"]) == 36


@pytest.mark.parametrize(("answer", "route"), [(b"[1,2]", 1), (b"[0]", 0), (b"[-2, 5]", -2)])
def test_bare_json_array_of_ints_is_a_route(answer: bytes, route: int) -> None:
    assert parse_route(Payload(answer), router="r") == route


async def test_feedback_reaches_send_feedback_nodes_and_their_children() -> None:
    first, below = Node("t"), Node("u")
    async with serving(first, below):
        learning = below.graph("UNKNOWN_TYPE", methods=["SEND_FEEDBACK", "TRANSFORM_INPUT"])
        async with executor(first.graph("TRANSFORMER", learning, methods=["SEND_FEEDBACK"])) as client:
            await client.post(b'{"reward":1}', path=FEEDBACK)
    for node in (first, below):
        assert [(seen.path, seen.body) for seen in node.calls()] == [("/send-feedback", b'{"reward":1}')]


@pytest.mark.parametrize("path", [FEEDBACK, "/api/v0.1/feedback"])
async def test_rest_feedback_answers_200(path: str) -> None:
    node = Node("a")
    node.rest = lambda _: Reply(b'{"strData":"thanks"}')
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post(b'{"reward":1}', path=path)
    assert (answer.status, answer.body) == (200, b'{"strData":"thanks"}')


async def test_grpc_send_feedback_answers() -> None:
    node, transformer = Node("a"), Node("t")
    node.grpc = lambda _, __: TEXT.SerializeToString()
    feedback = pb.Feedback(request=TEXT, reward=1)
    async with serving(node, transformer):
        async with executor(node.graph("MODEL")) as client:
            assert (await client.call(feedback, GRPC_FEEDBACK))[0] == TEXT.SerializeToString()
        async with executor(transformer.graph("TRANSFORMER", node.graph("MODEL"))) as client:
            answer, _ = await client.call(feedback, GRPC_FEEDBACK)
    assert pb.SeldonMessage.FromString(answer) == pb.SeldonMessage()


async def test_v0_1_predictions_answer_200() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        assert (await client.post(path="/api/v0.1/predictions")).status == 200


@pytest.mark.parametrize("place", ["first", "last"])
async def test_node_s_409_passes_with_its_body(place: str) -> None:
    await check_node_s_error(409, place)


@pytest.mark.parametrize("place", ["first", "last"])
async def test_node_s_500_passes_with_its_body(place: str) -> None:
    await check_node_s_error(500, place)


async def check_node_s_error(status: int, place: str) -> None:
    first, last = Node("first"), Node("last")
    {"first": first, "last": last}[place].rest = lambda _: Reply(b'{"mine":1}', status)
    async with serving(first, last), executor(first.graph("MODEL", last.graph("MODEL"))) as client:
        answer = await client.post()
    assert (answer.status, answer.body) == (status, b'{"mine":1}')


async def test_metrics_path_exposes_the_server_histogram() -> None:
    assert parse_settings([], {}).prometheus_path == "/metrics"
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL"), flags=["--prometheus_path", "/metrics"]) as client:
        await client.post()
        text = (await client.get("/metrics")).body
    assert b"# TYPE seldon_api_executor_server_requests_seconds histogram" in text
    assert b"seldon_api_executor_server_requests_seconds_bucket{" in text


async def test_requests_under_way_are_a_metric_for_autoscalers() -> None:
    node, arrived, goes_on = Node("a"), asyncio.Event(), asyncio.Event()

    async def hold(_: Any) -> Reply:
        arrived.set()
        await goes_on.wait()
        return Reply()

    node.rest = hold
    async with serving(node), executor(node.graph("MODEL")) as client:
        labels = b'{deployment_name="dep",predictor_name="main",predictor_version=""}'
        assert b"slipway_in_flight" + labels + b" 0.0" in (await client.get("/prometheus")).body
        held = asyncio.create_task(client.post())
        await arrived.wait()
        assert b"slipway_in_flight" + labels + b" 1.0" in (await client.get("/prometheus")).body
        goes_on.set()
        assert (await held).status == 200


async def test_status_of_a_tensorflow_model_answers_200() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL"), flags=["--protocol", "tensorflow"]) as client:
        assert (await client.get("/v1/models/a")).status == 200


async def test_tensorflow_model_of_an_unknown_name_is_asked_all_the_same() -> None:
    node = Node("a")
    node.rest = lambda _: Reply(b'{"predictions":[1]}')
    async with serving(node), executor(node.graph("MODEL"), flags=["--protocol", "tensorflow"]) as client:
        answer = await client.post(b'{"instances":[1]}', path="/v1/models/nobody:predict")
    assert (answer.status, answer.body) == (200, b'{"predictions":[1]}')
    assert [seen.path for seen in node.calls()] == ["/v1/models/nobody:predict"]


async def test_openapi_has_the_deployment_s_name_and_namespace() -> None:
    async with executor({"name": "a", "type": "MODEL"}, ready=False) as client:
        described = json.loads((await client.get("/api/v1.0/doc/seldon.json")).body)
    assert (described["info"]["title"], described["servers"]) == ("dep", [{"url": "/seldon/ns/dep"}])


async def test_slow_model_fails_a_hasty_executor_and_not_a_patient_one_over_rest() -> None:
    goes_on = asyncio.Event()

    async def slow(_: Seen) -> Reply:
        await goes_on.wait()
        return Reply()

    node = Node("a")
    node.rest = slow
    async with (
        serving(node),
        executor(node.graph("MODEL"), annotations={"seldon.io/rest-timeout": "100"}) as hasty,
        executor(node.graph("MODEL"), annotations={"seldon.io/rest-timeout": "40000"}) as patient,
    ):
        waits = asyncio.create_task(patient.post())
        assert (await hasty.post()).status == 504
        assert not waits.done()
        goes_on.set()
        assert (await waits).status == 200


async def test_slow_model_fails_a_hasty_executor_and_not_a_patient_one_over_grpc() -> None:
    goes_on = asyncio.Event()

    async def slow(_: str, request: bytes) -> bytes:
        await goes_on.wait()
        return request

    node = Node("a")
    node.grpc = slow
    async with (
        serving(node),
        executor(node.graph("MODEL"), annotations={"seldon.io/grpc-timeout": "100"}) as hasty,
        executor(node.graph("MODEL"), annotations={"seldon.io/grpc-timeout": "40000"}) as patient,
    ):
        waits = asyncio.create_task(patient.call(TEXT))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await hasty.call(TEXT)
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not waits.done()
        goes_on.set()
        assert (await waits)[0] == TEXT.SerializeToString()


def test_certificates_are_refused_rather_than_ignored() -> None:
    with pytest.raises(SettingError, match="SELDON_CERT_MOUNT_PATH: this executor speaks plain text"):
        parse_settings([], {"SELDON_CERT_MOUNT_PATH": "/certs"})


async def test_status_and_metadata_of_an_unknown_node_are_500_as_in_seldon() -> None:
    async with executor({"name": "a", "type": "MODEL"}, ready=False) as client:
        for path in ("/api/v1.0/status/x", "/api/v1.0/metadata/x"):
            answer = await client.get(path)
            assert (answer.status, json.loads(answer.body)["status"]["code"]) == (500, 500)


async def test_refusal_of_a_router_passes_with_its_body() -> None:
    router, child = Node("r"), Node("a")
    router.rest = lambda _: Reply(b'{"mine":1}', 422)
    async with serving(router, child), executor(router.graph("ROUTER", child.graph("MODEL"))) as client:
        answer = await client.post()
    assert (answer.status, answer.body, child.calls()) == (422, b'{"mine":1}', [])


async def test_bytes_that_are_no_json_are_not_escaped() -> None:
    node = Node("a")
    node.rest = lambda _: Reply(b"\xff<&>", headers={"Content-Type": "image/jpeg"})
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer = await client.post()
    assert (answer.body, answer.headers["Content-Type"]) == (b"\xff<&>", "image/jpeg")


async def test_headers_of_one_connection_are_not_forwarded() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.post(headers={"TE": "trailers", "X-Mine": "1", "x-slipway-hook": "route", "Connection": "close"})
    (seen,) = node.calls()
    assert seen.headers["X-Mine"] == "1"
    assert not {"te", "x-slipway-hook"} & {name.lower() for name in seen.headers}


async def test_graph_metadata_leaves_out_an_ab_test_without_a_container() -> None:
    left, right = Node("x"), Node("y")
    graph = {"name": "ab", "implementation": "RANDOM_ABTEST"}
    async with (
        serving(left, right),
        executor({**graph, "children": [left.graph("MODEL"), right.graph("MODEL")]}) as client,
    ):
        described = json.loads((await client.get("/api/v1.0/metadata")).body)
        raw, _ = await client.call(b"", "/seldon.protos.Seldon/GraphMetadata")
    assert sorted(described["models"]) == sorted(pb.SeldonGraphMetadata.FromString(raw).models) == ["x", "y"]


async def rest_code(client: Executor) -> tuple[int, str]:
    answer = await client.post()
    return answer.status, answer.headers.get("x-slipway-reason", "")


async def grpc_code(client: Executor) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.call(TEXT)
    trailing: dict[str, Any] = dict(refused.value.trailing_metadata() or ())
    return refused.value.code(), trailing.get("x-slipway-reason", "")


ROUTES: list[bytes | int] = [7, -3, 2**40, b"[]", b'{"strData":"1"}', b"{}", b"\xff"]
"""What Seldon's executor dies of: indices of no child, and answers without one."""


def route_reply(route: bytes | int) -> Callable[[Seen], Reply]:
    body = route if isinstance(route, bytes) else json.dumps({"data": {"ndarray": [[route]]}}).encode()
    return lambda _: Reply(body)


def routing(router: Node, child: Node, top: Node | None) -> dict[str, Any]:
    """The router over its child, beside which ``top`` has that child once more."""
    routed = router.graph("ROUTER", child.graph("MODEL"))
    return routed if top is None else top.graph("MODEL", child.graph("MODEL"), routed)


@pytest.mark.parametrize("fans_out", [False, True], ids=["at-the-root", "below-a-fan-out"])
@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_route_that_crashes_seldon_is_a_clear_error_over_rest(route: bytes | int, *, fans_out: bool) -> None:
    router, child, other = Node("r"), Node("a"), Node("o")
    router.rest = route_reply(route)
    async with serving(router, child, other), executor(routing(router, child, other if fans_out else None)) as client:
        assert await rest_code(client) == (500, "ROUTE_INVALID")
        router.rest = lambda _: Reply(b"[0]")
        assert (await client.post()).status == 200


@pytest.mark.parametrize("fans_out", [False, True], ids=["at-the-root", "below-a-fan-out"])
@pytest.mark.parametrize("answer", [TEXT, pb.SeldonMessage(), to_child(7), to_child(-3)], ids=str)
async def test_route_that_crashes_seldon_is_a_clear_error_over_grpc(
    answer: pb.SeldonMessage, *, fans_out: bool
) -> None:
    router, child, other = Node("r"), Node("a"), Node("o")
    router.grpc = lambda _, __: answer.SerializeToString()
    async with serving(router, child, other), executor(routing(router, child, other if fans_out else None)) as client:
        assert await grpc_code(client) == (grpc.StatusCode.INTERNAL, "ROUTE_INVALID")
        router.grpc = lambda _, __: to_child(0).SerializeToString()
        assert (await client.call(TEXT))[0] == TEXT.SerializeToString()


@pytest.mark.parametrize("route", [-2, -3, 5, 2**31 - 1, -(2**31)])
async def test_feedback_routing_that_crashes_seldon_is_an_answer_over_both_wires(route: int) -> None:
    router, child = Node("r"), Node("a")
    feedback = pb.Feedback(reward=1)
    feedback.response.meta.routing["r"] = route
    body = json.dumps({"response": {"meta": {"routing": {"r": route}}}, "reward": 1}).encode()
    async with serving(router, child), executor(router.graph("ROUTER", child.graph("MODEL"))) as client:
        answer = await client.post(body, path=FEEDBACK)
        if route == -2:
            assert answer.status == 200
            await client.call(feedback, GRPC_FEEDBACK)
        else:
            assert (answer.status, answer.headers["x-slipway-reason"]) == (400, "FEEDBACK_ROUTING_INVALID")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.call(feedback, GRPC_FEEDBACK)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not child.calls()


async def test_errors_of_concurrent_branches_do_not_cancel_each_other() -> None:
    failing, slow, combiner = Node("f"), Node("s"), Node("c")
    goes_on, ended = asyncio.Event(), asyncio.Event()

    async def answers_later(_: Seen) -> Reply:
        await goes_on.wait()
        ended.set()
        return Reply()

    def fails(_: Seen) -> Reply:
        goes_on.set()
        return Reply(b"no", 418)

    slow.rest, failing.rest = answers_later, fails
    async with (
        serving(failing, slow, combiner),
        executor(combiner.graph("COMBINER", failing.graph("MODEL"), slow.graph("MODEL"))) as client,
    ):
        answer = await client.post()
    assert (answer.status, answer.body, ended.is_set()) == (418, b"no", True)


async def test_node_s_grpc_error_in_a_chain_keeps_its_code() -> None:
    first, second = Node("a"), Node("b")

    def refuse(_: str, __: bytes) -> bytes:
        raise Refusal(grpc.StatusCode.UNKNOWN, "Exception calling application: mine")

    first.grpc = refuse
    async with serving(first, second), executor(first.graph("MODEL", second.graph("MODEL"))) as client:
        with pytest.raises(grpc.aio.AioRpcError, match="Exception calling application: mine") as refused:
            await client.call(TEXT)
    assert refused.value.code() is grpc.StatusCode.UNKNOWN
    assert not [method for method, *_ in second.grpc_seen if "Metadata" not in method]


@pytest.mark.parametrize("path", ["/%00", "/a%0d%0aSet-Cookie:%20b"])
async def test_path_of_a_cloud_event_cannot_break_the_headers(path: str) -> None:
    async with executor({"name": "a", "type": "MODEL"}, ready=False) as client:
        answer = await client.get(URL(path, encoded=True), headers={"Ce-Specversion": "1.0"})
    assert (answer.status, answer.headers["Ce-Path"]) == (404, path)
    assert "Set-Cookie" not in answer.headers


async def test_metadata_of_an_unknown_node_is_not_found_over_grpc() -> None:
    async with executor({"name": "a", "type": "MODEL"}, ready=False) as client:
        with pytest.raises(grpc.aio.AioRpcError, match="has no node 'x'; it has a") as refused:
            await client.call(pb.SeldonModelMetadataRequest(name="x"), "/seldon.protos.Seldon/ModelMetadata")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_compressed_answers_feed_combiners_and_routers() -> None:
    router, child, combiner = Node("r"), Node("a"), Node("c")
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    router.rest = lambda _: Reply(gzip.compress(b"[0]"), headers=packed)
    child.rest = lambda _: Reply(gzip.compress(b'{"strData":"x"}'), headers=packed)
    async with (
        serving(router, child, combiner),
        executor(combiner.graph("COMBINER", router.graph("ROUTER", child.graph("MODEL")))) as client,
    ):
        assert (await client.post(headers={"Accept-Encoding": "gzip"})).status == 200
    assert [seen.body for seen in combiner.calls()] == [b'[{"strData":"x"}]']


@pytest.mark.parametrize(
    ("protocol", "path"), [("v2", "/v2/models/infer"), ("tensorflow", "/v1/models/:predict")], ids=["v2", "tensorflow"]
)
async def test_request_without_inputs_is_the_first_node_s_to_refuse(protocol: str, path: str) -> None:
    node = Node("a")
    node.rest = lambda seen: Reply(b'{"error":"no inputs"}', 400) if seen.body == b'{"id":"1"}' else Reply()
    async with serving(node), executor(node.graph("MODEL"), flags=["--protocol", protocol]) as client:
        answer = await client.post(b'{"id":"1"}', path=path)
    assert (answer.status, answer.body) == (400, b'{"error":"no inputs"}')
