"""What is done to a large message is done in a thread: while one client's is, the others' are answered."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import tensorflow_serving_pb2 as tf
from slipway.executor import grpc_server, rest_server, run
from slipway.executor.limits import LARGE_MESSAGE_BYTES
from slipway.executor.tensorflow import TensorflowDialect
from slipway.executor.v2 import V2Dialect
from tests.executor.executors import PREDICT, executor
from tests.executor.nodes import Node, Reply, serving

LARGE = LARGE_MESSAGE_BYTES + 1
INFER = "/inference.GRPCInferenceService/ModelInfer"
TF_PREDICT = "/tensorflow.serving.PredictionService/Predict"


class Witness:
    """Notes in which threads a function of a module runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.in_loop: list[bool] = []
        real: Callable[..., Any] = getattr(owner, name)

        def noted(*args: Any, **named: Any) -> Any:
            self.in_loop.append(threading.current_thread() is threading.main_thread())
            return real(*args, **named)

        monkeypatch.setattr(owner, name, noted)


def inference(size: int) -> Message:
    return v2.ModelInferRequest(
        inputs=[{"name": "x", "datatype": "UINT8", "shape": [size]}], raw_input_contents=[bytes(size)]
    )


def prediction(size: int) -> Message:
    request = tf.PredictRequest()
    request.inputs["x"].tensor_content = bytes(size)
    return request


@pytest.mark.parametrize(
    ("protocol", "method", "message", "dialect"),
    [("v2", INFER, inference, V2Dialect), ("tensorflow", TF_PREDICT, prediction, TensorflowDialect)],
)
async def test_client_s_large_protobuf_is_read_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, protocol: str, method: str, message: Callable[[int], Message], dialect: type
) -> None:
    read, asked = Witness(monkeypatch, grpc_server, "parse_message"), Witness(monkeypatch, dialect, "ask_grpc")
    node = Node("a", grpc=lambda _, __: b"")
    async with serving(node), executor(node.graph("MODEL"), flags=("--protocol", protocol)) as client:
        for size in (1, LARGE):
            await client.call(message(size), method)
    assert (read.in_loop, asked.in_loop) == ([True, False], [True, False])


async def test_large_answer_is_asked_on_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Witness(monkeypatch, V2Dialect, "ask_rest")
    fill = json.dumps({"id": "7" * LARGE, "outputs": []}).encode()
    first, second = Node("a", rest=lambda _: Reply(fill)), Node("b", rest=lambda _: Reply(b'{"outputs":[]}'))
    async with (
        serving(first, second),
        executor(first.graph("MODEL", second.graph("MODEL")), flags=("--protocol", "v2")) as client,
    ):
        assert (await client.post(b'{"inputs":[]}', "/v2/models/infer")).status == 200
    assert asked.in_loop == [True, False]


async def test_compressed_answer_is_inflated_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Witness(monkeypatch, rest_server, "inflate")
    packed = gzip.compress(b'{"strData":"x"}')
    node = Node("a", rest=lambda _: Reply(packed, headers={"Content-Encoding": "gzip"}))
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.post(headers={"Accept-Encoding": "identity"})
    assert shown.in_loop == [False]


async def test_escapes_are_written_in_a_thread_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    escaped = Witness(monkeypatch, rest_server, "escape_html")
    held: list[int] = []
    hold = rest_server.hold_reply

    def noted(request: Any, ticket: Any, size_bytes: int) -> None:
        held.append(size_bytes)
        hold(request, ticket, size_bytes)

    monkeypatch.setattr(rest_server, "hold_reply", noted)
    node = Node("a", rest=lambda seen: Reply(seen.body))
    sizes = []
    async with serving(node), executor(node.graph("MODEL")) as client:
        for text in ("plain", "<", "<" * LARGE):
            answer = await client.post(json.dumps({"strData": text}).encode())
            assert json.loads(answer.body) == {"strData": text}
            sizes.append(len(answer.body))
    assert escaped.in_loop == [True, False]
    assert held == sizes
    assert sizes[-1] > 6 * LARGE


async def test_routes_that_a_thread_writes_are_those_of_its_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journey's own grow while other branches run."""
    given: list[dict[str, int]] = []
    write = run.with_routing

    def noted(payload: Any, routing: dict[str, int]) -> Any:
        given.append(routing)
        return write(payload, routing)

    monkeypatch.setattr(run, "with_routing", noted)
    left, right = (Node(name, grpc=lambda _, request: request) for name in "ab")
    environment = {"SELDON_ENABLE_ROUTING_INJECTION": "1"}
    request = pb.SeldonMessage(data={"tensor": {"shape": [1], "values": [1]}})
    async with serving(left, right):
        root = {"name": "c", "implementation": "AVERAGE_COMBINER"}
        graph = {**root, "children": [left.graph("MODEL"), right.graph("MODEL")]}
        async with executor(graph, environment=environment) as client:
            answer, _ = await client.call(request, PREDICT)
    assert dict(pb.SeldonMessage.FromString(answer).meta.routing) == {"a": -1, "b": -1, "c": -1}
    assert len({id(routing) for routing in given}) == len(given) == 3
