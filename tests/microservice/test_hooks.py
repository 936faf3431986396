"""Every hook with what all of them take and give: meta, SeldonResponse, deprecated forms (list 81, 85, 88, 94)."""

from __future__ import annotations

from typing import Any

import flask
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.microservice.seldon_names import SeldonResponse
from tests.microservice.conftest import Serve

MESSAGE: dict[str, Any] = {"meta": {"puid": "p", "tags": {"in": "tag"}}, "data": {"ndarray": [[1.0]]}}
PROTO = pb.SeldonMessage(meta=pb.Meta(puid="p"), data=pb.DefaultData(tensor=pb.Tensor(shape=[1, 1], values=[1.0])))
CALLS: dict[str, tuple[str, Any, type, str, Any]] = {
    "predict": ("/predict", MESSAGE, stubs.ModelStub, "Predict", PROTO),
    "transform_input": ("/transform-input", MESSAGE, stubs.TransformerStub, "TransformInput", PROTO),
    "transform_output": ("/transform-output", MESSAGE, stubs.OutputTransformerStub, "TransformOutput", PROTO),
    "route": ("/route", MESSAGE, stubs.RouterStub, "Route", PROTO),
    "aggregate": (
        "/aggregate",
        [MESSAGE],
        stubs.CombinerStub,
        "Aggregate",
        pb.SeldonMessageList(seldonMessages=[PROTO]),
    ),
    "send_feedback": (
        "/send-feedback",
        {"request": MESSAGE},
        stubs.ModelStub,
        "SendFeedback",
        pb.Feedback(request=PROTO),
    ),
}
"""Hook → its REST path and body, its gRPC service, method and message."""
WITH_META = ("predict", "transform_input", "transform_output", "route")


@pytest.mark.parametrize("hook", CALLS)
async def test_seldon_response_of_every_hook_over_both_wires(serve: Serve, hook: str):
    class Model:
        pass

    def answer(_self: Any, *_arguments: Any, **_more: Any) -> SeldonResponse:
        metric = {"type": "GAUGE", "key": "seen", "value": 2, "tags": {"of": hook}}
        return SeldonResponse(1 if hook == "route" else [[1.0]], tags={"run": "time"}, metrics=[metric])

    setattr(Model, hook, answer)
    path, body, stub, method, message = CALLS[hook]
    served = await serve(Model())
    status, reply = await served.post(path, body)
    assert (status, reply["meta"]["tags"]["run"]) == (200, "time")
    assert [one["key"] for one in reply["meta"]["metrics"]] == ["seen"]
    over_grpc = await getattr(stub(served.channel), method)(message)
    assert over_grpc.meta.tags["run"].string_value == "time"
    assert [(one.key, one.value) for one in over_grpc.meta.metrics] == [("seen", 2.0)]
    assert f'of="{hook}"' in await served.metrics()


@pytest.mark.parametrize("hook", WITH_META)
async def test_meta_reaches_every_hook_that_takes_it_and_others_work_without(serve: Serve, hook: str):
    seen: list[Any] = []

    def with_meta(_self: Any, X: Any, names: Any, meta: Any = None) -> Any:
        seen.append(meta)
        return 1 if hook == "route" else X

    def without(_self: Any, X: Any, names: Any) -> Any:
        return 1 if hook == "route" else X

    path, body, stub, method, message = CALLS[hook]
    served = await serve(type("Model", (), {hook: with_meta})())
    assert (await served.post(path, body))[0] == 200
    await getattr(stub(served.channel), method)(message)
    assert seen == [MESSAGE["meta"], {"puid": "p"}]
    plain = await serve(type("Model", (), {hook: without})())
    assert (await plain.post(path, body))[0] == 200
    assert (await getattr(stub(plain.channel), method)(message)).meta.puid == "p"


async def test_a_deprecated_hook_is_called_before_the_raw_one_on_its_transport(serve: Serve):
    class Old:
        def predict_rest(self, msg):
            return {"strData": "rest"}

        def predict_grpc(self, msg):
            return pb.SeldonMessage(strData="grpc")

        def predict_raw(self, msg):
            return {"strData": "raw"}

        def transform_input_grpc(self, msg):
            return {"strData": f"a {type(msg).__name__} over either"}

    served = await serve(Old())
    assert (await served.post("/predict", MESSAGE))[1] == {"strData": "rest"}
    assert (await stubs.ModelStub(served.channel).Predict(PROTO)).strData == "grpc"
    assert (await served.post("/transform-input", MESSAGE))[1] == {"strData": "a dict over either"}


async def test_a_tftensor_over_rest_needs_no_tensorflow(serve: Serve):
    class Model:
        def predict(self, X, names):
            assert X.dtype == "float32"
            return X * 2

    tensor = {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "2"}]}, "floatVal": [1, 2]}
    served = await serve(Model())
    status, reply = await served.post("/predict", {"data": {"tftensor": tensor}})
    assert status == 200
    answered = reply["data"]["tftensor"]
    assert (answered["dtype"], answered["tensorShape"]) == ("DT_FLOAT", tensor["tensorShape"])
    status, again = await served.post("/predict", {"data": {"tftensor": answered}})
    doubled = {"dtype": "DT_FLOAT", "tensorShape": tensor["tensorShape"], "tensorContent": "AACAQAAAAEE="}
    assert (status, again["data"]["tftensor"]) == (200, doubled)


async def test_errors_that_the_component_s_own_blueprint_handles_are_its_answers(serve: Serve):
    blueprint = flask.Blueprint("errors", __name__)

    class OwnError(Exception):
        pass

    class OwnestError(OwnError):
        pass

    @blueprint.app_errorhandler(OwnError)
    def say(error: OwnError) -> Any:
        if str(error) == "worse":
            raise ValueError("the handler's own mistake")
        return flask.jsonify({"own": str(error)}), 402

    class Model:
        model_error_handler = blueprint

        def predict(self, X: Any, names: Any) -> Any:
            raise {"own": OwnError, "ownest": OwnestError, "worse": OwnError}.get(X, KeyError)(X)

    served = await serve(Model())
    assert await served.post("/predict", {"strData": "own"}) == (402, {"own": "own"})
    assert await served.post("/predict", {"strData": "ownest"}) == (402, {"own": "ownest"})
    for other, said in (("other", "'other'"), ("worse", "the handler's own mistake")):
        status, answer = await served.post("/predict", {"strData": other})
        assert (status, answer["status"]["reason"]) == (500, "MICROSERVICE_INTERNAL_ERROR")
        assert said in answer["status"]["info"]
    assert (await served.post("/predict", {}))[0] == 400, "what is not the component's is not handled"
