"""V2 inferences in batches: each answer is the one of an inference alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.contract.protos import inference_pb2 as v2
from slipway.microservice.batches import Job
from slipway.microservice.v2_batches import V2Job
from slipway.microservice.v2_calls import ServedModel
from slipway.serving.v2_json import V2Body, parse_infer_request, render_infer_response
from tests.microservice.batches import answer
from tests.microservice.conftest import Serve
from tests.microservice.test_batches import HELD, Model, hooks_of, message
from tests.waiting import eventually


class Echo:
    """Gives its X back, and names columns: what an answer has of the request's own tensor shows."""

    def predict(self, X: Any, names: Any) -> Any:
        return X

    def class_names(self) -> list[str]:
        return ["a", "b"]


class InPlace(Echo):
    def predict(self, X: Any, names: Any) -> Any:
        if isinstance(X, np.ndarray) and X.dtype.kind == "f":
            np.multiply(X, 2, out=X)
        return X


def inference(datatype: str, rows: list[list[Any]], **more: Any) -> dict[str, Any]:
    shape = [len(rows), len(rows[0])]
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "data": [one for row in rows for one in row]}
    return {"inputs": [{**tensor, **more.pop("tensor", {})}], **more}


ROWS = st.lists(st.lists(st.integers(-2, 50), min_size=2, max_size=2), min_size=1, max_size=3)
INFERENCES = st.one_of(
    st.builds(lambda rows: inference("FP32", rows), ROWS),
    st.builds(lambda rows, identifier: inference("FP64", rows, id=identifier), ROWS, st.text("ab", max_size=1)),
    st.builds(lambda rows: inference("INT64", rows, parameters={"puid": "tag"}), ROWS),
    st.builds(lambda rows: inference("FP32", rows, tensor={"parameters": {"names": '["c", "d"]'}}), ROWS),
    st.builds(lambda rows: inference("FP32", rows, outputs=[{"name": "not there"}]), ROWS),
    st.just(inference("BYTES", [["text"]])),
    st.just(inference("FP32", [[1.0]], tensor={"shape": [7]})),
    st.just({"inputs": []}),
)


def job_of(body: dict[str, Any]) -> Job:
    def write(request: Any, response: Any, _spent_ms: float) -> Any:
        return json.loads(render_infer_response(response, binary=request.wants_binary).body)

    sent = V2Body(json.dumps(body).encode(), None)
    job = V2Job(ServedModel(("m",)), lambda: parse_infer_request(sent), write)
    return Job(job.parse, job.render)


@pytest.mark.parametrize("kind", [Model, Echo, InPlace])
def test_replies_of_a_batch_are_those_of_one_inference_each(kind: Callable[[], Any]):
    @given(st.lists(INFERENCES, min_size=1, max_size=6))
    @settings(max_examples=200, deadline=None)
    def compare(bodies: list[dict[str, Any]]) -> None:
        together = answer(hooks_of(kind()), [job_of(body) for body in bodies])
        alone = [answer(hooks_of(kind()), [job_of(body)])[0] for body in bodies]
        assert list(map(_shown, together)) == list(map(_shown, alone))

    compare()


def _shown(outcome: Any) -> Any:
    error = getattr(outcome, "error", None)
    return outcome if error is None else (type(error), str(error))


async def test_inferences_that_wait_are_one_call_with_those_of_the_seldon_protocol(serve: Serve):
    model = Model()
    served = await serve(model, max_batch=8)
    held = asyncio.create_task(served.post("/predict", message([HELD])))
    await eventually(lambda: served.service.threads.longest_s() > 0)
    rest = [
        asyncio.create_task(served.post("/v2/models/infer", inference("FP64", [[float(number)]])))
        for number in range(2)
    ]
    seldon = asyncio.create_task(served.post("/predict", message([5.5])))
    await eventually(lambda: served.service.admission.requests == 4)
    tensor = v2.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[2, 1])
    sent = v2.ModelInferRequest(inputs=[tensor], raw_input_contents=[np.array([7.0, 8.0]).tobytes()])
    infer = served.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    over_grpc = infer(sent.SerializeToString())
    await eventually(lambda: served.service.admission.requests == 5)
    model.goes_on.set()
    assert (await held)[0] == 200
    assert [(await one)[1]["outputs"][0]["data"] for one in rest] == [[1.0], [4.0]]
    assert (await seldon)[1]["data"]["ndarray"] == [[17.5]]
    assert np.frombuffer(v2.ModelInferResponse.FromString(await over_grpc).raw_output_contents[0]).tolist() == [
        22.0,
        25.0,
    ]
    assert model.rows == [1, 5]


async def test_inferences_by_tensor_name_are_calls_of_their_own(serve: Serve):
    class Named(Model):
        def predict_named(self, tensors: Any, names: Any, outputs: Any, meta: Any) -> Any:
            return {"y": tensors["x"] + 1}

    served = await serve(Named(), max_batch=4)
    status, reply = await served.post("/v2/models/infer", inference("FP64", [[1.0]]))
    assert (status, reply["outputs"][0]["name"], reply["outputs"][0]["data"]) == (200, "y", [2.0])
