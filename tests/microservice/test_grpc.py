"""The gRPC services over real sockets."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest
from google.protobuf import any_pb2, empty_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.contract.protos import tensor_pb2
from tests.microservice.conftest import Serve


class Model:
    def __init__(self, result=None, error=None):
        self.result, self.error, self.seen = result, error, []

    def predict(self, X, names, meta=None):
        self.seen.append((X, names, meta))
        if self.error is not None:
            raise self.error
        return X if self.result is None else self.result


def _tensor(values, shape, names=()):
    return pb.SeldonMessage(data=pb.DefaultData(names=names, tensor=pb.Tensor(shape=shape, values=values)))


async def test_tensor_is_a_float_array(serve: Serve):
    model = Model()
    served = await serve(model)
    reply = await stubs.ModelStub(served.channel).Predict(_tensor([1, 2, 3, 4], [2, 2], ["a", "b"]))
    features, names, meta = model.seen[0]
    assert (features.dtype, features.shape) == (np.float64, (2, 2))
    assert (names, meta) == (["a", "b"], {})
    assert list(reply.data.tensor.values) == [1, 2, 3, 4]
    assert list(reply.data.names) == ["t:0", "t:1"]


class InPlace:
    """As many classes normalise: over REST their X was always their own."""

    def predict(self, X, names, meta=None):
        np.subtract(X, 1, out=X)
        return X


async def test_x_may_be_changed_in_place(serve: Serve):
    served = await serve(InPlace())
    content = np.array([2, 3], dtype="<f4").tobytes()
    shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=2)])
    raw = tensor_pb2.TensorProto(dtype=tensor_pb2.DT_FLOAT, tensor_shape=shape, tensor_content=content)
    for sent in (_tensor([2, 3], [2]), pb.SeldonMessage(data=pb.DefaultData(tftensor=raw))):
        reply = await stubs.ModelStub(served.channel).Predict(sent)
        data = reply.data
        values = data.tensor.values or np.frombuffer(data.tftensor.tensor_content, "<f4").tolist()
        assert list(values) == [1, 2]
    headers = {"Content-Type": "application/x-protobuf"}  # as the executor asks inside of a graph
    body = _tensor([2, 3], [2]).SerializeToString()
    async with served.session.post(f"{served.url}/predict", data=body, headers=headers) as response:
        assert (response.status, await response.json()) == (
            200,
            {"data": {"names": [], "tensor": {"shape": [2], "values": [1.0, 2.0]}}, "meta": {}},
        )


async def test_unknown_fields_do_not_shift_tensor_values(serve: Serve):
    served = await serve(Model())
    raw = _tensor([1.5, 2.5], [2]).SerializeToString()
    tensor = pb.Tensor(shape=[2], values=[1.5, 2.5]).SerializeToString() + b"\x7a\x04junk"
    data = b"\x12" + bytes([len(tensor)]) + tensor
    raw = b"\x1a" + bytes([len(data)]) + data
    reply = await _raw_call(served.channel, "Model", "Predict", raw)
    assert list(reply.data.tensor.values) == [1.5, 2.5]


def _raw_call(channel, service, method, raw):
    call = channel.unary_unary(f"/seldon.protos.{service}/{method}", response_deserializer=pb.SeldonMessage.FromString)
    return call(raw)


async def test_custom_data_goes_through(serve: Serve):
    served = await serve(Model())
    wrapped = any_pb2.Any()
    wrapped.Pack(pb.Tensor(shape=[1]))
    reply = await stubs.SeldonStub(served.channel).Predict(pb.SeldonMessage(customData=wrapped))
    assert reply.customData == wrapped


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1", "i8", "f2", "u8"])
async def test_tftensor_keeps_its_type(serve: Serve, dtype):
    model = Model()
    served = await serve(model)
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    data_type = {"f4": 1, "f8": 2, "i4": 3, "u1": 4, "i8": 9, "f2": 19, "u8": 23}[dtype]
    shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in array.shape])
    sent = tensor_pb2.TensorProto(dtype=data_type, tensor_shape=shape, tensor_content=array.tobytes())
    reply = await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(data=pb.DefaultData(tftensor=sent)))
    np.testing.assert_array_equal(model.seen[0][0], array)
    assert model.seen[0][0].dtype == array.dtype
    assert reply.data.tftensor == sent


@pytest.mark.parametrize(
    ("status_code", "code"),
    [
        (400, grpc.StatusCode.INVALID_ARGUMENT),
        (415, grpc.StatusCode.INVALID_ARGUMENT),
        (413, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (429, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (503, grpc.StatusCode.UNAVAILABLE),
        (500, grpc.StatusCode.INTERNAL),
        (200, grpc.StatusCode.INTERNAL),
        (None, grpc.StatusCode.INTERNAL),
    ],
)
async def test_errors_carry_status_text_and_reason(serve: Serve, status_code, code):
    class Broken(Exception):
        pass

    error = Broken("the text ☃ " + "x" * 20_000)
    error.status_code, error.reason = status_code, "MY_CODE"
    served = await serve(Model(error=error))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="x"))
    assert raised.value.code() is code
    assert raised.value.details().startswith("the text ☃")
    own = "MY_CODE" if status_code and status_code >= 400 else "MICROSERVICE_INTERNAL_ERROR"
    assert dict(raised.value.trailing_metadata())["x-slipway-reason"] == own


async def test_an_error_without_a_text_or_attributes_to_read_is_an_internal_error(serve: Serve):
    class Broken(Exception):
        status_code = property(lambda self: 1 // 0)

        def __str__(self):
            raise KeyError

    served = await serve(Model(error=Broken()))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="x"))
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert raised.value.details() == "Broken has no text: its __str__ raises KeyError"
    assert dict(raised.value.trailing_metadata())["x-slipway-reason"] == "MICROSERVICE_INTERNAL_ERROR"


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xff", b"", pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[3], values=[1]))).SerializeToString(),
     pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[-1], values=[1]))).SerializeToString(),
     pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[1] * 65, values=[1]))).SerializeToString(),
     pb.SeldonMessage(meta=pb.Meta(metrics=[pb.Metric()] * 1001), strData="x").SerializeToString(),
     pb.SeldonMessage(data=pb.DefaultData(tftensor=tensor_pb2.TensorProto(dtype=99))).SerializeToString()],
)  # fmt: skip
async def test_malformed_messages_are_the_callers_mistake(serve: Serve, raw):
    served = await serve(Model())
    for service, method in (("Model", "Predict"), ("Seldon", "Predict"), ("Transformer", "TransformInput")):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await _raw_call(served.channel, service, method, raw)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_provenance_and_time_are_trailing_metadata(serve: Serve):
    model = Model()
    model.provenance = {"name": "yolo", "version": "3", "digest": "sha256:abc"}
    served = await serve(model)
    call = stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="x"))
    await call
    trailing = dict(await call.trailing_metadata())
    assert trailing["x-slipway-model"] == "yolo/3 sha256:abc"
    assert trailing["server-timing"].startswith("Model;dur=")


async def test_a_message_above_the_limit_is_resource_exhausted(serve: Serve):
    served = await serve(Model())
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(binData=b"x" * MAX_BODY_BYTES))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_health_and_reflection(serve: Serve):
    served = await serve(Model(), model_metadata="name: m")
    assert (await stubs.ModelStub(served.channel).Metadata(empty_pb2.Empty())).name == "m"
    asked = pb.SeldonModelMetadataRequest(name="any")
    assert (await stubs.SeldonStub(served.channel).ModelMetadata(asked)).name == "m"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stubs.SeldonStub(served.channel).GraphMetadata(empty_pb2.Empty())
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    health = health_pb2_grpc.HealthStub(served.channel)
    for service in ("", "seldon.protos.Model"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    listed = {service.name async for answer in call for service in answer.list_services_response.service}
    names = ("Model", "Router", "Transformer", "OutputTransformer", "Combiner", "Generic", "Seldon")
    assert {f"seldon.protos.{name}" for name in names} | {"grpc.health.v1.Health"} <= listed


async def test_raw_hooks_get_and_give_protobuf(serve: Serve):
    class Raw:
        def predict_raw(self, msg):
            assert isinstance(msg, pb.SeldonMessage)
            return pb.SeldonMessage(strData=msg.strData.upper())

        def transform_input_raw(self, msg):
            return {"strData": "from a dict"}

        def send_feedback_raw(self, feedback):
            assert isinstance(feedback, pb.Feedback)
            return pb.SeldonMessage(strData="thanks")

    served = await serve(Raw())
    assert (await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="x"))).strData == "X"
    reply = await stubs.TransformerStub(served.channel).TransformInput(pb.SeldonMessage(strData="x"))
    assert reply.strData == "from a dict"
    assert (await stubs.ModelStub(served.channel).SendFeedback(pb.Feedback(reward=1))).strData == "thanks"
    assert (await served.post("/send-feedback", {"reward": 1}))[1] == {"strData": "thanks"}


async def test_both_protocols_share_one_instance(serve: Serve):
    model = Model()
    served = await serve(model)
    await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="grpc"))
    await served.post("/predict", {"strData": "rest"})
    assert [features for features, _, _ in model.seen] == ["grpc", "rest"]


async def test_an_open_health_watch_hears_of_the_drain_and_does_not_hold_it_up(serve: Serve):
    served = await serve(Model())
    watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest(service=""))
    answers = aiter(watch)
    assert (await anext(answers)).status == health_pb2.HealthCheckResponse.SERVING
    served.lifecycle.stop_asked.set()
    async with asyncio.timeout(5):
        serving = asyncio.create_task(served.servers.serve())
        assert (await anext(answers)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await serving == 0


async def test_a_large_shape_of_a_few_bytes_is_the_caller_s_mistake(serve: Serve):
    stub = stubs.ModelStub((await serve(Model())).channel)
    for shape in ([0, 2_000_000], [2_000_000_000, 0]):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Predict(_tensor([], shape))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert list((await stub.Predict(_tensor([], [0, 2]))).data.names) == ["t:0", "t:1"]


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), float("-inf")])
async def test_a_reward_that_is_not_finite_is_the_caller_s_mistake(serve: Serve, reward: float):
    served = await serve(Model())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stubs.ModelStub(served.channel).SendFeedback(pb.Feedback(reward=reward))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "reward" not in await served.metrics()
