"""The gRPC surface with real nodes behind it: the contract's behaviours 16, 17 and 40 to 43."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from slipway.contract.headers import ANSWERED_BY
from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor import grpc_client
from slipway.executor.addresses import Addresses
from slipway.executor.graph import Method
from slipway.executor.grpc_client import GrpcNodes
from slipway.executor.metrics import ExecutorMetrics, Identity
from slipway.executor.payload import Payload, Wire
from slipway.executor.run import Journey
from slipway.serving.messages import PROTOBUF
from tests.executor.executors import executor
from tests.executor.graphs import graph_of
from tests.executor.nodes import Node, Refusal, serving
from tests.waiting import eventually

FEEDBACK = "/seldon.protos.Seldon/SendFeedback"
TEXT = pb.SeldonMessage(strData="in")


async def test_predict_passes_bytes_through_and_names_the_predictor() -> None:
    node = Node("a")
    odd = TEXT.SerializeToString() + b"\xd2\x3e\x01x"  # a field that SeldonMessage does not have
    async with serving(node), executor(node.graph("MODEL")) as client:
        answer, metadata = await client.call(odd)
    assert answer == odd
    assert node.grpc_seen[0][0] == "/seldon.protos.Model/Predict"
    assert metadata["x-slipway-predictor"] == "main"
    assert metadata["server-timing"].startswith("a;dur=")


async def test_puid_is_added_when_missing_and_sent_to_nodes() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        _, metadata = await client.call(TEXT)
    assert len(metadata["seldon-puid"]) == 36
    assert node.grpc_seen[0][1]["seldon-puid"] == metadata["seldon-puid"]


async def test_puid_is_kept_when_present_and_metadata_reaches_nodes() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL")) as client:
        _, metadata = await client.call(TEXT, metadata=(("seldon-puid", "mine"), ("my-key", "1")))
    seen = node.grpc_seen[0][1]
    assert (metadata["seldon-puid"], seen["seldon-puid"], seen["my-key"]) == ("mine", "mine", "1")


async def test_chain_calls_the_method_of_each_node_s_type() -> None:
    first, model, last = Node("t"), Node("m"), Node("o")
    first.grpc = lambda _, __: pb.SeldonMessage(strData="t").SerializeToString()
    model.grpc = lambda _, request: pb.SeldonMessage(
        strData=pb.SeldonMessage.FromString(request).strData + "m"
    ).SerializeToString()
    async with (
        serving(first, model, last),
        executor(last.graph("OUTPUT_TRANSFORMER", first.graph("TRANSFORMER", model.graph("MODEL")))) as client,
    ):
        answer, _ = await client.call(TEXT)
    assert pb.SeldonMessage.FromString(answer).strData == "tm"
    assert [node.grpc_seen[0][0] for node in (first, model, last)] == [
        "/seldon.protos.Transformer/TransformInput",
        "/seldon.protos.Model/Predict",
        "/seldon.protos.OutputTransformer/TransformOutput",
    ]


async def test_router_and_combiner_work_on_messages() -> None:
    router, combiner, left, right = Node("r"), Node("c"), Node("x"), Node("y")
    route = pb.SeldonMessage()
    route.data.tensor.values.append(1)
    router.grpc = lambda _, __: route.SerializeToString()
    async with (
        serving(router, combiner, left, right),
        executor(
            router.graph(
                "ROUTER", left.graph("MODEL"), combiner.graph("COMBINER", left.graph("MODEL"), right.graph("MODEL"))
            )
        ) as client,
    ):
        await client.call(TEXT)
    method, _, request = combiner.grpc_seen[0]
    assert method == "/seldon.protos.Combiner/Aggregate"
    assert pb.SeldonMessageList.FromString(request) == pb.SeldonMessageList(seldonMessages=[TEXT, TEXT])


async def test_large_messages_are_combined_with_right_lengths() -> None:
    combiner, left = Node("c"), Node("x")
    photo = pb.SeldonMessage(binData=b"p" * 70_000)
    async with serving(combiner, left), executor(combiner.graph("COMBINER", left.graph("MODEL"))) as client:
        await client.call(photo)
    assert pb.SeldonMessageList.FromString(combiner.grpc_seen[0][2]).seldonMessages[0] == photo


async def test_bad_route_is_internal_and_the_executor_goes_on() -> None:
    router, child = Node("r"), Node("x")
    async with serving(router, child), executor(router.graph("ROUTER", child.graph("MODEL"))) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call(TEXT)
        assert await client.is_ready()
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "router r" in (caught.value.details() or "")
    assert trailing(caught.value)["x-slipway-reason"] == "ROUTE_INVALID"


async def test_feedback_goes_through_the_model_service_by_recorded_routing() -> None:
    router, left, right = Node("r"), Node("x"), Node("y")
    feedback = pb.Feedback(reward=1.0)
    feedback.response.meta.routing["r"] = 1
    async with (
        serving(router, left, right),
        executor(router.graph("ROUTER", left.graph("MODEL"), right.graph("MODEL"))) as client,
    ):
        await client.call(feedback, FEEDBACK)
    assert [[method for method, *_ in node.grpc_seen] for node in (router, left, right)] == [
        ["/seldon.protos.Model/SendFeedback"],
        [],
        ["/seldon.protos.Model/SendFeedback"],
    ]


async def test_node_that_there_is_not_is_not_found_in_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="slipway.executor.grpc_server")
    method, node = "/seldon.protos.Seldon/ModelMetadata", Node("m")
    async with serving(node), executor(node.graph("MODEL")) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call(pb.SeldonModelMetadataRequest(name="x"), method)
    text = "predictor main has no node 'x'; it has m"
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, text)
    (line,) = [record for record in caplog.records if record.name == "slipway.executor.grpc_server"]
    assert (line.levelname, line.message) == ("INFO", f"{method}: NOT_FOUND NODE_UNKNOWN: {text}")


async def test_feedback_about_another_predictor_s_reply_is_not_found_and_counted_nowhere() -> None:
    node = Node("m")
    async with serving(node), executor(node.graph("MODEL")) as client:
        with pytest.raises(grpc.aio.AioRpcError, match="and this is 'main': it was not counted") as caught:
            await client.call(pb.Feedback(reward=1.0), FEEDBACK, metadata=((ANSWERED_BY, "gone"),))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert trailing(caught.value)["x-slipway-reason"] == "FEEDBACK_PREDICTOR_UNKNOWN"
        assert not node.grpc_seen
        await client.call(pb.Feedback(reward=1.0), FEEDBACK, metadata=((ANSWERED_BY, "main"),))
    ((method, metadata, _),) = node.grpc_seen
    assert (method, ANSWERED_BY in metadata) == ("/seldon.protos.Model/SendFeedback", False)


async def test_routes_taken_are_named_in_trailing_metadata() -> None:
    left, right = Node("x"), Node("y")
    parameters = [{"name": "ratioA", "value": "0", "type": "FLOAT"}]
    graph = {"name": "ab", "implementation": "RANDOM_ABTEST", "parameters": parameters}
    async with (
        serving(left, right),
        executor({**graph, "children": [left.graph("MODEL"), right.graph("MODEL")]}) as client,
    ):
        _, metadata = await client.call(TEXT)
    assert metadata["x-slipway-routing"] == '{"ab":1}'


async def test_routing_is_injected_into_messages() -> None:
    node = Node("a")
    environment = {"SELDON_ENABLE_ROUTING_INJECTION": "yes"}
    async with serving(node), executor(node.graph("MODEL"), environment=environment) as client:
        answer, _ = await client.call(TEXT)
    assert dict(pb.SeldonMessage.FromString(answer).meta.routing) == {"a": -1}


async def test_node_s_status_passes_with_its_text_and_reason() -> None:
    node = Node("a")

    def refuse(_: str, __: bytes) -> bytes:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "no photo", ("x-slipway-reason", "IMAGE_UNDECODABLE"))

    node.grpc = refuse
    async with serving(node), executor(node.graph("MODEL")) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call(TEXT)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "no photo")
    assert trailing(caught.value)["x-slipway-reason"] == "IMAGE_UNDECODABLE"
    assert trailing(caught.value)["x-slipway-predictor"] == "main"


async def test_unreachable_node_is_unavailable() -> None:
    async with executor({"name": "a", "type": "MODEL"}, ready=False) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call(TEXT)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert trailing(caught.value)["x-slipway-reason"] == "NODE_UNREACHABLE"


async def test_node_that_starts_late_is_called_without_a_long_back_off() -> None:
    node = Node("a")
    async with serving(node):
        pass
    async with executor(node.graph("MODEL"), ready=False) as client:
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError):
                await client.call(TEXT)

        async def answers() -> bool:
            try:
                return (await client.call(TEXT))[0] == TEXT.SerializeToString()
            except grpc.aio.AioRpcError:
                return False

        async with serving(node):
            await eventually(answers, timeout_s=3)


async def test_grpc_timeout_annotation_is_deadline_exceeded() -> None:
    node = Node("a")
    node.grpc = lambda _, __: asyncio.Event().wait()  # type: ignore[assignment, return-value]
    async with (
        serving(node),
        executor(node.graph("MODEL"), annotations={"seldon.io/grpc-timeout": "100"}) as client,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call(TEXT)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert trailing(caught.value)["x-slipway-reason"] == "NODE_TIMEOUT"


async def test_max_message_size_annotation_is_resource_exhausted() -> None:
    node = Node("a")
    annotations = {"seldon.io/grpc-max-message-size": "1"}
    async with serving(node), executor(node.graph("MODEL"), annotations=annotations) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call(TEXT)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_max_message_size_annotation_goes_for_the_calls_of_nodes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_client, "MAX_ANSWER_BYTES", 1000)
    node, message = Node("a"), pb.SeldonMessage(binData=b"x" * 5000)
    annotations = {"seldon.io/grpc-max-message-size": "10000"}
    async with serving(node), executor(node.graph("MODEL"), annotations=annotations) as client:
        answer, _ = await client.call(message)
    assert answer == message.SerializeToString()


async def test_messages_above_grpc_s_own_default_pass() -> None:
    node = Node("a")
    photo = pb.SeldonMessage(binData=b"p" * (5 * 2**20))
    async with serving(node), executor(node.graph("MODEL")) as client:
        node.grpc = lambda _, request: str(len(request)).encode()
        answer, _ = await client.call(photo)
    assert answer == str(photo.ByteSize()).encode()


async def test_model_and_graph_metadata() -> None:
    first, model = Node("t"), Node("m")
    async with serving(first, model), executor(first.graph("TRANSFORMER", model.graph("MODEL"))) as client:
        one, _ = await client.call(pb.SeldonModelMetadataRequest(name="m"), "/seldon.protos.Seldon/ModelMetadata")
        every, _ = await client.call(b"", "/seldon.protos.Seldon/GraphMetadata")
    assert pb.SeldonModelMetadata.FromString(one).name == "m"
    described = pb.SeldonGraphMetadata.FromString(every)
    assert (described.name, sorted(described.models)) == ("main", ["m", "t"])


async def test_client_that_leaves_cancels_the_call_of_the_node() -> None:
    node = Node("a")
    arrived = asyncio.Event()

    async def never(_: str, __: bytes) -> bytes:
        arrived.set()
        await asyncio.Event().wait()
        return b""

    node.grpc = never
    async with serving(node), executor(node.graph("MODEL")) as client:
        request = asyncio.create_task(client.call(TEXT))
        await asyncio.wait_for(arrived.wait(), 5)
        request.cancel()
        await asyncio.wait_for(node.cancelled.wait(), 5)


def trailing(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    return dict(error.trailing_metadata())


async def test_long_texts_of_a_node_arrive_with_their_status() -> None:
    node = Node("a")

    def refuse(_: str, __: bytes) -> bytes:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "é" * 900, ("x-slipway-reason", "MINE"))

    node.grpc = refuse
    async with serving(node), executor(node.graph("MODEL")) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call(TEXT)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "é" * (4096 // 6)


async def test_call_under_way_outlives_a_new_graph() -> None:
    node, other = Node("a"), Node("b")
    arrived, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(_: str, request: bytes) -> bytes:
        arrived.set()
        await goes_on.wait()
        return request

    node.grpc = slow
    async with serving(node, other):
        nodes = GrpcNodes(addresses=Addresses(), metrics=ExecutorMetrics(Identity("d", "p")))
        first, second = graph_of(node.graph("MODEL")).root, graph_of(other.graph("MODEL")).root
        payload = Payload(TEXT.SerializeToString(), PROTOBUF)
        call = asyncio.create_task(
            nodes.call(first, Method.PREDICT, payload, ask=Wire.PROTOBUF, journey=Journey("puid"))
        )
        await arrived.wait()
        nodes.keep([second])
        goes_on.set()
        assert (await call).body == payload.body
        await nodes.close()
