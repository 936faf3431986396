"""The REST surface over real sockets: what a request may be and what its reply is (contract 4.3 to 4.6)."""

from __future__ import annotations

import asyncio
import base64
import json

import aiohttp
import numpy as np
import pytest

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.seldon_names import SeldonResponse
from slipway.microservice.settings import Identity
from tests.microservice.components import Echo
from tests.microservice.conftest import IDENTITY, Serve


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
