"""Every hook over REST: one that is missing, routes, aggregates, feedback, raw forms (contract list 80 to 92)."""

from __future__ import annotations

import base64
from typing import ClassVar

import numpy as np
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.seldon_names import SeldonComponent, SeldonNotImplementedError
from slipway.microservice.settings import Identity
from tests.microservice.components import Echo
from tests.microservice.conftest import Serve


async def test_missing_hooks_answer_as_the_contract_says(serve: Serve):
    for instance in (object(), SeldonComponent()):
        served = await serve(instance)
        body = {"data": {"names": ["a"], "ndarray": [[1]]}}
        assert await served.post("/predict", body) == (200, {"data": {"names": [], "ndarray": []}, "meta": {}})
        for path in ("/transform-input", "/transform-output"):
            assert (await served.post(path, {"strData": "same"}))[1]["strData"] == "same"
        assert (await served.post("/route", body))[0] == 400
        assert (await served.post("/aggregate", [body]))[0] == 400
        assert await served.post("/send-feedback", {"reward": 1}) == (
            200,
            {"data": {"tensor": {"shape": [0]}}, "meta": {}},
        )


@pytest.mark.parametrize(("result", "status"), [(22, 200), (True, 200), (np.int64(1), 400), ("1", 400)])
async def test_route_answers_python_integers_only(serve: Serve, result, status):
    class Router:
        def route(self, X, names):
            return result

    served = await serve(Router())
    got, answer = await served.post("/route", {"data": {"ndarray": [[1]]}})
    assert got == status
    if status == 200:
        assert answer["data"] == {"ndarray": [[int(result)]], "names": ["t:0"]}


@pytest.mark.parametrize("shape", ["bare", "wrapped"])
async def test_aggregate_merges_meta_left_to_right(serve: Serve, shape):
    class Mean:
        def aggregate(self, features_list, names_list):
            assert names_list == [["a"], []]
            return np.mean(features_list, axis=0)

    messages = [
        {"meta": {"puid": "p", "tags": {"x": 1, "y": 1}, "metrics": [{"key": "m", "value": 1}]},
         "data": {"names": ["a"], "ndarray": [[1.0]]}},
        {"meta": {"tags": {"y": 2}, "requestPath": {"n": "i"}}, "data": {"ndarray": [[3.0]]}},
    ]  # fmt: skip
    served = await serve(Mean())
    body = messages if shape == "bare" else {"seldonMessages": messages}
    status, answer = await served.post("/aggregate", body)
    assert status == 200
    assert answer["data"]["ndarray"] == [[2.0]]
    assert answer["meta"] == {
        "puid": "p",
        "tags": {"x": 1, "y": 2},
        "requestPath": {"n": "i"},
        "metrics": [{"key": "m", "value": 1}],
    }


@pytest.mark.parametrize("body", [{}, {"seldonMessages": {}}, [1], [], "text", {"seldonMessages": [None]}])
async def test_aggregate_refuses_other_shapes(serve: Serve, body):
    class Combiner:
        def aggregate(self, features_list, names_list):
            return []

    served = await serve(Combiner())
    status, answer = await served.post("/aggregate", body)
    assert (status, answer["status"]["reason"]) == (400, "MICROSERVICE_BAD_DATA")


async def test_feedback_gets_arrays_routing_and_counts_the_reward(serve: Serve):
    seen = []

    class Bandit:
        def send_feedback(self, X, names, reward, truth, routing=None):
            seen.append((X.tolist(), names, reward, truth.tolist(), routing))

    served = await serve(Bandit(), identity=Identity("r", "i:1", "d", "p", "v"))
    feedback = {
        "request": {"data": {"names": ["a"], "ndarray": [[1]]}},
        "response": {"meta": {"routing": {"r": 1}}},
        "reward": 42,
        "truth": {"data": {"tensor": {"shape": [1], "values": [2]}}},
    }
    for path in ("/send-feedback", "/api/v1.0/feedback"):
        status, answer = await served.post(path, feedback)
        assert (status, answer) == (200, {"data": {"ndarray": []}, "meta": {"requestPath": {"r": "i:1"}}})
    assert seen == [([[1.0]], ["a"], 42.0, [2.0], 1)] * 2
    text = await served.metrics()
    reward = next(line for line in text.splitlines() if line.startswith("seldon_api_model_feedback_reward_total"))
    assert reward.endswith(" 84.0")


async def test_raw_hooks_come_first_and_fall_back(serve: Serve):
    class Raw:
        def predict_raw(self, msg):
            if "strData" in msg:
                raise SeldonNotImplementedError("not this one")
            return {"echo": msg, "meta": {"metrics": [{"type": "COUNTER", "key": "raws", "value": 1}]}}

        def predict(self, X, names):
            return "normal"

    served = await serve(Raw())
    assert (await served.post("/predict", {"strData": "x"}))[1]["strData"] == "normal"
    _, answer = await served.post("/predict", data=b"photo", headers={"Content-Type": "image/png"})
    assert answer["echo"] == {"binData": base64.b64encode(b"photo").decode()}
    assert 'raws_total{deployment_name="dep"' in await served.metrics()


@pytest.mark.parametrize("hook", ["transform_input", "transform_output", "route", "aggregate"])
async def test_every_hook_has_a_raw_form(serve: Serve, hook):
    class Raw:
        pass

    setattr(Raw, f"{hook}_raw", lambda _self, msg: {"raw": msg})
    served = await serve(Raw())
    body = [{"strData": "x"}] if hook == "aggregate" else {"strData": "x"}
    assert await served.post("/" + hook.replace("_", "-"), body) == (200, {"raw": body})


async def test_status_code_inside_a_predict_reply_is_the_http_status(serve: Serve):
    class Raw:
        def predict_raw(self, msg):
            return {"status": {"code": 402}}

    served = await serve(Raw())
    assert await served.post("/predict", {"strData": "x"}) == (402, {"status": {"code": 402}})


async def test_payload_passthrough_gives_raw_bytes(serve: Serve):
    class Raw:
        def predict_raw(self, msg):
            assert isinstance(msg, bytes)
            return msg[::-1]

    served = await serve(Raw(), payload_passthrough=True)
    async with served.session.post(served.url + "/predict", data=b"abc") as response:
        assert await response.read() == b"cba"
        assert "x-slipway-wire" not in response.headers, "the executor would send it protobuf"


async def test_payload_passthrough_without_a_raw_hook_changes_nothing_of_the_wire(serve: Serve):
    served = await serve(Echo(), payload_passthrough=True)
    async with served.session.post(served.url + "/predict", json={"strData": "x"}) as response:
        assert response.headers["x-slipway-wire"] == "protobuf"


async def test_raw_hook_gets_of_a_protobuf_body_what_json_would_have_said(serve: Serve):
    seen: list[object] = []

    class Raw:
        def predict_raw(self, msg):
            seen.append(msg)
            return msg

    served = await serve(Raw())
    message = pb.SeldonMessage(data={"tensor": {"shape": [1], "values": [2.0]}})
    message.meta.SetInParent()
    headers = {"Content-Type": "application/x-protobuf"}
    async with served.session.post(
        served.url + "/predict", data=message.SerializeToString(), headers=headers
    ) as response:
        assert response.status == 200
    assert seen == [{"data": {"tensor": {"shape": [1], "values": [2.0]}, "names": []}, "meta": {}}]


@pytest.mark.parametrize("reward", ["NaN", "Infinity", "-Infinity", "1e39", "-1e39"])
async def test_a_reward_that_would_stay_in_the_counter_is_400_and_not_counted(serve: Serve, reward: str):
    class Learner:
        told: ClassVar[list[float]] = []

        def send_feedback(self, X, names, reward, truth, routing=None):
            self.told.append(reward)

    class Raw(Learner):
        def send_feedback_raw(self, feedback):
            self.told.append(feedback.reward)
            return pb.SeldonMessage()

    for model in (Learner(), Raw()):
        served = await serve(model)
        status, answer = await served.post(
            "/send-feedback", data=f'{{"reward":{reward}}}', headers={"Content-Type": "application/json"}
        )
        assert (status, answer["status"]["reason"]) == (400, "MICROSERVICE_BAD_DATA")
        assert (await served.post("/send-feedback", {"reward": 0.5}))[0] == 200
        assert [line.split()[-1] for line in (await served.metrics()).splitlines() if "reward_total{" in line] == [
            "0.5"
        ]
    assert Learner.told == [0.5, 0.5]
