"""The REST surface over real sockets: payloads, hooks, errors (contract 4.3 to 4.6, list 80 to 92)."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import ClassVar

import aiohttp
import numpy as np
import pytest

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.limits import PROBE_TIMEOUT_S
from slipway.microservice.seldon_names import SeldonComponent, SeldonNotImplementedError, SeldonResponse
from slipway.microservice.service import HEALTH_WAIT_S
from slipway.microservice.settings import Identity
from tests.microservice.conftest import IDENTITY, Serve
from tests.waiting import eventually


class Echo:
    """Answers what it was asked, and keeps it."""

    def __init__(self):
        self.seen = []

    def predict(self, X, names, meta=None):
        self.seen.append((X, names, meta))
        return X


class Answer:
    def __init__(self, result):
        self.result = result

    def predict(self, X, names):
        return self.result


BIN = base64.b64encode(b"\x00\x01").decode()


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"names": ["t:0", "t:1"], "ndarray": [[1, 2.5]]}},
        {"data": {"names": ["t:0"], "tensor": {"shape": [2, 1], "values": [1, 2]}}},
        {"data": {"names": [], "ndarray": ["a", "b"]}},
        {"binData": BIN},
        {"strData": "text"},
        {"jsonData": {"any": [1, None, {"json": True}]}},
    ],
)
async def test_predict_echoes_the_payload_in_its_own_form(serve: Serve, body):
    served = await serve(Echo())
    for path in ("/predict", "/api/v1.0/predictions", "/api/v0.1/predictions"):
        status, answer = await served.post(path, body)
        assert (status, answer) == (200, {**body, "meta": {}})


async def test_predict_answers_get_with_json_in_the_query(serve: Serve):
    served = await serve(Echo())
    status, answer = await served.get("/predict", params={"json": '{"strData":"q"}'})
    assert (status, answer["strData"]) == (200, "q")


async def test_query_json_wins_over_the_body(serve: Serve):
    served = await serve(Echo())
    _, answer = await served.post("/predict", {"strData": "body"}, params={"json": '{"strData":"query"}'})
    assert answer["strData"] == "query"


async def test_form_field_json_is_the_message(serve: Serve):
    served = await serve(Echo())
    _, answer = await served.post("/predict", data={"json": '{"strData":"form"}'})
    assert answer["strData"] == "form"


async def test_a_raw_photo_reaches_the_component_as_bytes(serve: Serve):
    echo = Echo()
    served = await serve(echo)
    for content_type in ("image/jpeg", "application/octet-stream"):
        status, answer = await served.post("/predict", data=b"\xff\xd8", headers={"Content-Type": content_type})
        assert status == 200
        assert base64.b64decode(answer["binData"]) == b"\xff\xd8"
        assert echo.seen[-1][0] == b"\xff\xd8"


async def test_multipart_image_part_is_bin_data_under_any_name(serve: Serve):
    served = await serve(Echo())
    form = aiohttp.FormData()
    form.add_field("photo", b"\x89PNG", filename="a.png", content_type="image/png")
    form.add_field("meta", json.dumps({"tags": {"a": 1}}))
    _, answer = await served.post("/predict", data=form)
    assert answer == {"binData": base64.b64encode(b"\x89PNG").decode(), "meta": {"tags": {"a": 1}}}


async def test_multipart_fields_are_json_and_str_data_is_text(serve: Serve):
    served = await serve(Echo())
    form = aiohttp.FormData({"data": '{"ndarray":[[1]]}'})
    form.add_field("ignored", b"text", filename="x.txt", content_type="text/plain")
    _, answer = await served.post("/predict", data=form)
    assert answer["data"]["ndarray"] == [[1]]
    text = aiohttp.FormData({"strData": "[not json"}, default_to_multipart=True)
    _, answer = await served.post("/predict", data=text)
    assert answer["strData"] == "[not json"


async def test_protobuf_body_and_protobuf_reply(serve: Serve):
    served = await serve(Echo())
    sent = pb.SeldonMessage(binData=b"record")
    headers = {"Content-Type": "application/x-protobuf", "Accept": "application/x-protobuf, application/json"}
    async with served.session.post(served.url + "/predict", data=sent.SerializeToString(), headers=headers) as response:
        assert response.content_type == "application/x-protobuf"
        assert response.headers["x-slipway-wire"] == "protobuf"
        assert pb.SeldonMessage.FromString(await response.read()).binData == b"record"


@pytest.mark.parametrize(
    ("result", "content_type"),
    [
        (b"bytes", "application/x-protobuf"),
        (np.array([[0.5]]), "application/x-protobuf"),
        (np.array([[1]]), "application/json"),
        ({"class_id": 14}, "application/json"),
        (SeldonResponse("text", tags={"count": 3}), "application/json"),
    ],
)
async def test_json_is_sent_where_protobuf_would_turn_integers_into_floats(serve: Serve, result, content_type):
    served = await serve(Answer(result))
    headers = {"Accept": "application/x-protobuf, application/json"}
    async with served.session.post(served.url + "/predict", json={"strData": "x"}, headers=headers) as response:
        assert response.content_type == content_type


async def test_a_caller_of_protobuf_alone_gets_protobuf(serve: Serve):
    served = await serve(Answer({"class_id": 14}))
    headers = {"Accept": "application/x-protobuf"}
    async with served.session.post(served.url + "/predict", json={"strData": "x"}, headers=headers) as response:
        message = pb.SeldonMessage.FromString(await response.read())
    assert message.jsonData.struct_value.fields["class_id"].number_value == 14


@pytest.mark.parametrize(
    ("result", "request_body", "payload"),
    [
        (
            np.array([[1, 2]]),
            {"strData": "x"},
            {"tensor": {"values": [1, 2], "shape": [1, 2]}, "names": ["t:0", "t:1"]},
        ),
        (np.array([1.5]), {"binData": BIN}, {"tensor": {"values": [1.5], "shape": [1]}, "names": []}),
        (["a", "b"], {"data": {"tensor": {"shape": [1], "values": [1]}}}, {"ndarray": ["a", "b"], "names": []}),
        (np.array([True]), {"data": {"tensor": {"shape": [1], "values": [1]}}}, {"ndarray": [True], "names": []}),
        ([[1, 2]], {"data": {"ndarray": [[9]]}}, {"ndarray": [[1, 2]], "names": ["t:0", "t:1"]}),
        ([[np.float32(0.5)]], {"data": {"ndarray": [[9]]}}, {"ndarray": [[0.5]], "names": ["t:0"]}),
    ],
)
async def test_array_results_follow_the_request_or_become_tensors(serve: Serve, result, request_body, payload):
    served = await serve(Answer(result))
    assert await served.post("/predict", request_body) == (200, {"data": payload, "meta": {}})


async def test_dict_result_is_json_data_also_for_a_data_request(serve: Serve):
    served = await serve(Answer({"score": np.float64(0.25)}))
    _, answer = await served.post("/predict", {"data": {"ndarray": [1]}})
    assert answer == {"jsonData": {"score": 0.25}, "meta": {}}


@pytest.mark.parametrize("result", [1, None, (1, 2)])
async def test_other_result_types_are_refused_with_a_sentence(serve: Serve, result):
    served = await serve(Answer(result))
    status, answer = await served.post("/predict", {"strData": "x"})
    assert status == 400
    assert type(result).__name__ in answer["status"]["info"]


async def test_integers_stay_integers_for_the_component(serve: Serve):
    echo = Echo()
    served = await serve(echo)
    await served.post("/predict", {"data": {"names": ["a"], "tensor": {"shape": [1, 1], "values": [7]}}})
    features, names, meta = echo.seen[0]
    assert features.dtype.kind == "i"
    assert names == ["a"]
    assert meta is None


async def test_class_names_method_and_attribute_name_the_columns(serve: Serve):
    class Named(Answer):
        def class_names(self):
            return ["cat", "dog"]

    class Attribute(Answer):
        class_names = np.array(["cat", "dog"])

    for kind in (Named, Attribute):
        served = await serve(kind(np.array([[0.1, 0.9]])))
        _, answer = await served.post("/predict", {"data": {"ndarray": [[1]]}})
        assert answer["data"]["names"] == ["cat", "dog"]


async def test_meta_is_merged_and_passed_on(serve: Serve):
    class Tagged(Echo):
        def tags(self):
            return {"own": 1, "both": "own"}

        def metrics(self):
            return [{"type": "COUNTER", "key": "calls", "value": 1, "tags": {"k": "v"}}]

        def predict(self, X, names, meta=None):
            self.seen.append(meta)
            return SeldonResponse(X, tags={"both": "runtime"}, metrics=[{"type": "GAUGE", "key": "g", "value": 2}])

    tagged = Tagged()
    served = await serve(tagged, identity=Identity("clf", "repo/img:0.1", "d", "p", "v"))
    meta = {
        "puid": "p1",
        "tags": {"in": True, "both": "in"},
        "routing": {"r": 1},
        "requestPath": {"first": "img:1"},
        "metrics": [{"type": "COUNTER", "key": "earlier", "value": 1}],
    }
    _, answer = await served.post("/predict", {"meta": meta, "data": {"ndarray": [1]}})
    assert tagged.seen[0] == meta
    assert answer["meta"] == {
        "puid": "p1",
        "tags": {"in": True, "own": 1, "both": "runtime"},
        "requestPath": {"clf": "repo/img:0.1", "first": "img:1"},
        "metrics": [
            {"type": "COUNTER", "key": "earlier", "value": 1},
            {"type": "COUNTER", "key": "calls", "value": 1, "tags": {"k": "v", "method": "predict"}},
            {"type": "GAUGE", "key": "g", "value": 2},
        ],
    }


async def test_incoming_image_of_a_node_wins_over_its_own(serve: Serve):
    served = await serve(Echo(), identity=Identity("clf", "repo/img:0.1", "d", "p", "v"))
    _, answer = await served.post("/predict", {"meta": {"requestPath": {"clf": "earlier:1"}}, "strData": "x"})
    assert answer["meta"]["requestPath"] == {"clf": "earlier:1"}


async def test_a_type_error_of_the_model_runs_it_once(serve: Serve):
    class Failing:
        calls = 0

        def predict(self, X, names, meta=None):
            self.calls += 1
            raise TypeError("inside the model")

    failing = Failing()
    served = await serve(failing)
    status, answer = await served.post("/predict", {"strData": "x"})
    assert (status, answer["status"]["reason"], failing.calls) == (500, "MICROSERVICE_INTERNAL_ERROR", 1)


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


async def test_an_exception_with_status_and_reason_is_that_error(serve: Serve):
    class TooLarge(Exception):
        status_code = 413
        reason = "IMAGE_TOO_LARGE"

    class Model:
        def predict(self, X, names):
            raise TooLarge("9000 x 9000 pixels")

    served = await serve(Model())
    async with served.session.post(served.url + "/predict", json={"strData": "x"}) as response:
        assert response.status == 413
        assert response.headers["x-slipway-reason"] == "IMAGE_TOO_LARGE"
        expected = {"status": 1, "info": "9000 x 9000 pixels", "code": -1, "reason": "IMAGE_TOO_LARGE"}
        assert await response.json() == {"status": expected}


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration("end"), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_nothing_that_a_component_raises_ends_the_server(serve: Serve, error):
    class Model:
        def predict(self, X, names):
            raise error

    served = await serve(Model())
    for _ in range(2):
        status, answer = await served.post("/predict", {"strData": "x"})
        assert status == 500
        assert type(error).__name__ in answer["status"]["info"]


@pytest.mark.parametrize("metrics", [{}, [{"key": "a"}], [{"type": "X", "key": "a", "value": 1}],
                                     [{"type": "GAUGE", "key": "a b", "value": 1}],
                                     [{"type": "GAUGE", "key": "a", "value": float("nan")}]])  # fmt: skip
async def test_bad_metrics_are_the_components_error(serve: Serve, metrics):
    class Model(Echo):
        def metrics(self):
            return metrics

    served = await serve(Model())
    status, answer = await served.post("/predict", {"strData": "x"})
    assert (status, answer["status"]["reason"]) == (500, "MICROSERVICE_BAD_METRIC")
    assert "slipway_metric_series_dropped_total" in await served.metrics()


async def test_metrics_are_hidden_from_clients_when_told(serve: Serve):
    class Model(Echo):
        def metrics(self):
            return [{"type": "GAUGE", "key": "g", "value": 1}]

    served = await serve(Model(), metrics_in_replies=False)
    assert (await served.post("/predict", {"strData": "x"}))[1]["meta"] == {}
    assert "\ng{" in await served.metrics()


async def test_health_and_metrics_answer_while_the_model_computes(serve: Serve):
    release, started = threading.Event(), threading.Event()

    class Slow(Echo):
        def predict(self, X, names, meta=None):
            started.set()
            assert release.wait(20)
            return X

    served = await serve(Slow())
    computing = asyncio.create_task(served.post("/predict", {"strData": "x"}))
    try:
        await eventually(started.is_set)
        async with served.session.get(served.url + "/health/ping") as response:
            assert await response.text() == "pong"
        assert await served.get("/health/status") == (200, {"strData": "healthy", "meta": {}})
        assert (await served.get("/metadata"))[0] == 200
        await served.metrics()
        assert not computing.done()
    finally:
        release.set()
    assert (await computing)[0] == 200


def test_health_of_a_busy_component_is_told_well_within_the_second_of_a_probe():
    """A probe without ``timeoutSeconds`` waits for 1 s, and so does an executor's: a busy component is not a dead one."""
    assert PROBE_TIMEOUT_S == 1.0
    assert PROBE_TIMEOUT_S / 2 > HEALTH_WAIT_S


async def test_calls_are_one_at_a_time_unless_threads_are_asked_for(serve: Serve):
    class Counting:
        def __init__(self, together):
            self.barrier = threading.Barrier(2) if together else None
            self.now = self.most = 0
            self.lock = threading.Lock()

        def predict(self, X, names):
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            if self.barrier:
                self.barrier.wait(10)
            return X

        def tags(self):
            with self.lock:
                self.now -= 1
            return {}

    for threads, together, most in ((1, False, 1), (2, True, 2)):
        model = Counting(together)
        served = await serve(model, threads=threads)
        answers = await asyncio.gather(*(served.post("/predict", {"strData": "x"}) for _ in range(4)))
        assert [status for status, _ in answers] == [200] * 4
        assert model.most == most


async def test_health_status_hooks(serve: Serve):
    class Model:
        def health_status(self):
            return "fine"

    class Raw:
        def health_status_raw(self):
            return {"any": "thing"}

    class Sick:
        def health_status(self):
            raise RuntimeError("no GPU")

    for path in ("/health/status", "/api/v1.0/health/status"):
        assert (await (await serve(Model())).get(path))[1]["strData"] == "fine"
        assert (await (await serve(Raw())).get(path))[1] == {"any": "thing"}
        assert (await (await serve(SeldonComponent())).get(path))[1]["strData"].startswith("not implemented")
        status, answer = await (await serve(Sick())).get(path)
        assert (status, answer["status"]["info"]) == (500, "no GPU")


async def test_draining_is_not_ready_but_still_serves(serve: Serve):
    served = await serve(Echo())
    served.lifecycle.start_draining()
    status, answer = await served.get("/health/status")
    assert (status, answer["status"]["reason"]) == (503, "NOT_READY")
    async with served.session.post(served.url + "/predict", json={"strData": "x"}) as response:
        assert response.status == 200
        assert response.headers["Connection"] == "close"


async def test_provenance_and_own_time_are_in_the_headers(serve: Serve):
    class Model(Echo):
        def __init__(self):
            super().__init__()
            self.provenance = {"name": "yolo", "version": "3", "digest": "sha256:abc"}

    served = await serve(Model())
    async with served.session.post(served.url + "/predict", json={"strData": "x"}) as response:
        assert response.headers["x-slipway-model"] == "yolo/3 sha256:abc"
        name, _, duration = response.headers["server-timing"].partition(";dur=")
        assert name == "Model"
        assert float(duration) >= 0


async def test_unknown_paths_and_wrong_methods(serve: Serve):
    served = await serve(Echo())
    status, answer = await served.get("/nope")
    assert (status, answer["status"]["reason"]) == (404, "NOT_FOUND")
    status, answer = await served.post("/health/status")
    assert (status, answer["status"]["reason"]) == (405, "METHOD_NOT_ALLOWED")


async def test_cors_is_open(serve: Serve):
    served = await serve(Echo())
    for origin, allowed in (({"Origin": "http://a"}, "http://a"), ({}, "*")):
        async with served.session.get(served.url + "/health/ping", headers=origin) as response:
            assert response.headers["Access-Control-Allow-Origin"] == allowed
    asked = {"Origin": "http://a", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-y"}
    async with served.session.options(served.url + "/predict", headers=asked) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Headers"] == "x-y"


async def test_openapi_names_every_path(serve: Serve):
    served = await serve(Echo())
    status, document = await served.get("/seldon.json")
    assert status == 200
    assert {"/predict", "/aggregate", "/send-feedback", "/metadata"} <= document["paths"].keys()


@pytest.mark.parametrize("version", ["v1.0", "v0.1"])
async def test_doc_page_lists_every_path_of_the_document_beside_it(serve: Serve, version: str):
    served = await serve(Echo())
    _, document = await served.get(f"/api/{version}/doc/seldon.json")
    assert document == (await served.get("/seldon.json"))[1]
    async with served.session.get(f"{served.url}/api/{version}/doc/") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        page = await response.text()
    assert [path for path in document["paths"] if f"<code>{path}</code>" not in page] == []


async def test_metadata_defaults_come_from_the_image(serve: Serve):
    served = await serve(Echo(), identity=Identity("n", "localhost:5000/model:1.2", "d", "p", "v"))
    _, metadata = await served.get("/metadata")
    assert metadata["name"] == "localhost:5000/model"
    assert metadata["versions"] == ["1.2"]


async def test_metadata_of_the_variable_wins_over_the_class(serve: Serve):
    class Model(Echo):
        def init_metadata(self):
            return {"name": "class", "platform": "p"}

    served = await serve(Model(), model_metadata="name: variable\nversions: ['2']")
    _, metadata = await served.get("/api/v1.0/metadata")
    assert (metadata["name"], metadata["platform"], metadata["versions"]) == ("variable", "p", ["2"])


async def test_bad_metadata_is_an_error_while_prediction_works(serve: Serve):
    class Model(Echo):
        def init_metadata(self):
            return {"versions": 3}

    served = await serve(Model())
    status, answer = await served.get("/metadata")
    assert (status, answer["status"]["reason"]) == (500, "MICROSERVICE_BAD_METADATA")
    assert (await served.post("/predict", {"strData": "x"}))[0] == 200


async def test_a_body_above_the_limit_is_413_before_it_is_read(serve: Serve):
    served = await serve(Echo(), identity=IDENTITY)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
    writer.write(head.encode())
    assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        ({"requestPath": {"a": 1}}, "meta.requestPath has a value that is not a string"),
        ({"metrics": [1]}, "meta.metrics[0] is not a metric"),
        ({"metrics": [{"key": "k", "value": "x"}]}, "meta.metrics[0] is not a metric"),
        ({"metrics": [{}] * 1001}, "meta.metrics has more than 1000 metrics"),
    ],
)
async def test_meta_that_could_not_be_passed_on_is_the_client_s_mistake(serve: Serve, meta: object, text: str):
    served = await serve(Echo())
    status, answer = await served.post("/predict", {"meta": meta, "strData": "x"})
    assert status == 400
    assert text in answer["status"]["info"]


EMPTY_SHAPES = [
    {"tensor": {"shape": [0, 5_000_000], "values": []}},
    {"tensor": {"shape": [2_000_000_000, 0], "values": []}},
    {"tensor": {"shape": [-1, 5_000_000], "values": []}},
    {"tftensor": {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "0"}, {"size": "3000000"}]}}},
    {"tftensor": {"dtype": "DT_INT8", "tensorShape": {"dim": [{"size": "1"}, {"size": "9000000"}]}, "intVal": [1]}},
]


@pytest.mark.parametrize("data", EMPTY_SHAPES)
async def test_a_large_shape_of_a_few_bytes_is_400(serve: Serve, data: object):
    served = await serve(Echo())
    assert (await served.post("/predict", {"data": data}))[0] == 400
    status, answer = await served.post("/predict", {"data": {"tensor": {"shape": [0, 3], "values": []}}})
    assert (status, answer["data"]["names"]) == (200, ["t:0", "t:1", "t:2"])


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
