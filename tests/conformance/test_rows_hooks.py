"""Rows 84, 85, 87 to 90 and 94 of docs/compatibility.md: hooks, meta and errors, under both start commands."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.serving.messages import feedback_to_proto, part_to_json, to_json, to_proto
from tests.conformance.conftest import Serve
from tests.conformance.servers import HOOKS, Server
from tests.conformance.verdicts import better, same

pytestmark = pytest.mark.conformance

STR = {"strData": "x"}
WITH_META = ("predict", "transform_input", "transform_output", "route")


def rest(served: Server, hook: str, message: dict[str, Any]) -> tuple[int, Any]:
    """The hook's reply over REST; a combiner gets a list of one, feedback is about ``message``."""
    body: Any = {"aggregate": [message], "send_feedback": {"request": message}}.get(hook, message)
    return served.ask("/" + hook.replace("_", "-"), body)


def over_grpc(served: Server, hook: str, message: dict[str, Any]) -> Any:
    """The same over gRPC."""
    stub, method = HOOKS[hook]
    if hook == "aggregate":
        return served.call(stub, method, pb.SeldonMessageList(seldonMessages=[to_proto(message)]))
    if hook == "send_feedback":
        return served.call(stub, method, feedback_to_proto({"request": message}))
    return served.call(stub, method, to_proto(message))


META = {
    "puid": "p1",
    "tags": {"in": True, "both": "in"},
    "requestPath": {"earlier": "img:1"},
    "metrics": [{"key": "earlier", "type": "GAUGE", "value": 2.0}],
}
MERGED = {
    "puid": "p1",
    "tags": {"in": True, "both": "own", "own": 1.5},
    "requestPath": {"earlier": "img:1", "clf": "registry.example:5000/clf:0.1"},
    "metrics": [{"key": "calls", "type": "COUNTER", "value": 1}, {"key": "earlier", "type": "GAUGE", "value": 2.0}],
}


def _sorted_metrics(meta: dict[str, Any]) -> dict[str, Any]:
    named = [{"type": "COUNTER", **one} for one in meta["metrics"]]
    return {**meta, "metrics": sorted(named, key=lambda one: one["key"])}


@same(84)
def test_row_84_puid_tags_metrics_and_request_path_pass_and_merge_over_both_wires(serve: Serve):
    tagged = serve("rows.Tagged")
    status, reply = tagged.ask("/predict", {"meta": META, "data": {"ndarray": [[1.0]]}})
    assert (status, _sorted_metrics(reply["meta"])) == (200, MERGED)
    reply = tagged.call(stubs.ModelStub, "Predict", to_proto({"meta": META, "strData": "x"}))
    assert _sorted_metrics(part_to_json(reply.meta)) == MERGED


@same(84)
def test_row_84_reply_to_no_meta_has_the_component_s_own(serve: Serve):
    status, reply = serve("rows.Tagged").ask("/predict", STR)
    assert status == 200
    assert reply["meta"]["requestPath"] == {"clf": "registry.example:5000/clf:0.1"}
    assert reply["meta"]["tags"] == {"own": 1.5, "both": "own"}
    assert not reply["meta"].get("puid")


@same(85)
@pytest.mark.parametrize("hook", WITH_META)
def test_row_85_meta_reaches_hooks_that_take_it_and_others_work_without(serve: Serve, hook: str):
    message = {"meta": {"puid": "p", "tags": {"branch": 7}}, "strData": "x"}
    status, reply = rest(serve("rows.WithMeta"), hook, message)
    assert status == 200
    if hook == "route":
        assert reply["data"]["tensor"]["values"] == [7]
        assert over_grpc(serve("rows.WithMeta"), hook, message).data.tensor.values == [7]
    else:
        assert reply["jsonData"]["got"]["tags"] == {"branch": 7}
        got = to_json(over_grpc(serve("rows.WithMeta"), hook, message))["jsonData"]["got"]
        assert (got["puid"], got["tags"]) == ("p", {"branch": 7})
    assert rest(serve("rows.WithoutMeta"), hook, message)[0] == 200
    assert isinstance(over_grpc(serve("rows.WithoutMeta"), hook, message), pb.SeldonMessage)


@better(85)
def test_row_85_type_error_of_the_component_runs_it_once(serve: Serve):
    failing = serve("rows.Failing", FOR="row 85")
    assert failing.ask("/predict", {"strData": "type"})[0] == 500
    assert failing.ask("/predict", {"strData": "calls"})[1]["jsonData"] == {"calls": 1}


@same(87)
@pytest.mark.parametrize("content_type", ["text/plain", "application/xml"])
def test_row_87_no_json_is_400(serve: Serve, content_type: str):
    status, reply = serve("rows.Echo").ask("/predict", raw=b"no JSON", content_type=content_type)
    assert status == 400
    assert reply["status"]["info"].startswith("Can't find JSON in data")
    assert reply["status"]["reason"] == "MICROSERVICE_BAD_DATA"


@same(87)
def test_row_87_bad_metrics_are_500(serve: Serve):
    status, reply = serve("rows.BadMetrics").ask("/predict", STR)
    assert (status, reply["status"]["reason"]) == (500, "MICROSERVICE_BAD_METRIC")
    assert reply["status"]["info"].startswith("Bad metric created during request")


@same(87)
def test_row_87_exception_with_status_403_is_403_with_its_reason(serve: Serve):
    status, reply = serve("rows.Failing").ask("/predict", {"strData": "forbidden"})
    expected = {"status": 1, "info": "not for you", "code": -1, "reason": "NOT_FOR_YOU"}
    assert (status, reply) == (403, {"status": expected})


@same(87)
def test_row_87_other_exception_is_500_with_its_text(serve: Serve):
    status, reply = serve("rows.Failing").ask("/predict", {"strData": "value"})
    expected = {"status": 1, "info": "inside the model", "code": -1, "reason": "MICROSERVICE_INTERNAL_ERROR"}
    assert (status, reply) == (500, {"status": expected})


@same(87)
def test_row_87_handler_of_the_component_s_blueprint_answers_402_with_its_body(serve: Serve):
    assert serve("rows.Handled").ask("/predict", STR) == (402, {"own": "pay first"})


@better(87)
@pytest.mark.parametrize(
    "body",
    [
        '{"binData": "a"}',
        '{"data": null}',
        '{"data": {"ndarray": [[1], [1, 2]]}}',
        '{"data": {"tensor": {"shape": [3], "values": [1]}}}',
        '{"strData": "x", "meta": {"tags": 1}}',
    ],
)
def test_row_87_mistake_of_the_client_is_400(serve: Serve, body: str):
    status, reply = serve("rows.Echo").ask("/predict", raw=body.encode())
    assert (status, reply.get("status", {}).get("reason")) == (400, "MICROSERVICE_BAD_DATA")


@better(87)
def test_row_87_unknown_path_is_404_and_wrong_method_405(serve: Serve):
    assert serve("rows.Echo").ask("/no/such/path")[0] == 404
    assert serve("rows.Echo").ask("/api/v1.0/predictions")[0] == 405


@better(87)
def test_row_87_grpc_error_has_a_status_and_the_text(serve: Serve):
    error = serve("rows.Failing").call(stubs.ModelStub, "Predict", pb.SeldonMessage(strData="forbidden"))
    assert isinstance(error, grpc.RpcError)
    assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not for you")


@better(87)
def test_row_87_exit_inside_a_hook_is_an_answer(serve: Serve):
    status, reply = serve("rows.Failing", FOR="exit").ask("/predict", {"strData": "exit"})
    assert status == 500
    assert "SystemExit" in reply["status"]["info"]


@same(88)
@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook != "send_feedback"])
def test_row_88_raw_hook_gets_a_dict_over_rest_and_protobuf_over_grpc(serve: Serve, hook: str):
    status, reply = rest(serve("rows.Raw"), hook, STR)
    sent = "list" if hook == "aggregate" else "dict"
    if hook == "aggregate":
        status, reply = serve("rows.Raw").ask("/aggregate", {"seldonMessages": [STR]})
        sent = "dict"
    assert (status, reply) == (200, {"strData": f"{hook} {sent}"})
    kind = "SeldonMessageList" if hook == "aggregate" else "SeldonMessage"
    assert over_grpc(serve("rows.Raw"), hook, STR).strData == f"{hook} {kind}"


@same(88)
def test_row_88_raw_feedback_is_protobuf_over_both_wires(serve: Serve):
    status, reply = rest(serve("rows.Raw"), "send_feedback", STR)
    assert (status, reply["strData"]) == (200, "send_feedback Feedback")
    assert over_grpc(serve("rows.Raw"), "send_feedback", STR).strData == "send_feedback Feedback"


@same(88)
def test_row_88_predict_rest_and_predict_grpc_come_before_the_raw_hook(serve: Serve):
    assert rest(serve("rows.ByTransport"), "predict", STR) == (200, {"strData": "rest"})
    assert over_grpc(serve("rows.ByTransport"), "predict", STR).strData == "grpc"


@same(88)
@pytest.mark.parametrize("interface", ["rows.FallsBack", "rows.SubclassFallsBack"])
@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook != "send_feedback"])
def test_row_88_raw_hook_that_is_not_implemented_falls_back(serve: Serve, hook: str, interface: str):
    status, reply = rest(serve(interface), hook, STR)
    assert status == 200
    if hook == "route":
        assert reply["data"]["tensor"]["values"] == [22]
    else:
        assert reply["strData"] == hook
        assert over_grpc(serve(interface), hook, STR).strData == hook


@same(89)
def test_row_89_int_of_a_router_is_a_matrix_of_it(serve: Serve):
    status, reply = serve("rows.Router").ask("/route", {"data": {"ndarray": [[1]]}})
    assert (status, reply["data"]) == (200, {"names": ["t:0"], "ndarray": [[22]]})
    status, reply = serve("rows.Router").ask("/route", {"strData": "int"})
    assert (status, reply["data"]["tensor"]) == (200, {"shape": [1, 1], "values": [22]})
    assert over_grpc(serve("rows.Router"), "route", {"strData": "int"}).data.tensor.values == [22]


@same(89)
@pytest.mark.parametrize("result", ["numpy", "text"])
def test_row_89_other_results_of_a_router_are_400(serve: Serve, result: str):
    status, reply = serve("rows.Router").ask("/route", {"strData": result})
    assert (status, reply["status"]["reason"]) == (400, "MICROSERVICE_BAD_DATA")
    assert reply["status"]["info"].startswith("Routing response must be int but got")


@same(89)
@pytest.mark.parametrize(
    ("interface", "info"),
    [("rows.NoHooks", "Route not defined"), ("rows.NoHooksComponent", "route is not implemented")],
)
def test_row_89_missing_route_is_400_with_its_message(serve: Serve, interface: str, info: str):
    status, reply = serve(interface).ask("/route", STR)
    expected = {"status": 1, "info": info, "code": -1, "reason": "MICROSERVICE_BAD_DATA"}
    assert (status, reply) == (400, {"status": expected})


FIRST = {
    "meta": {"puid": "p", "tags": {"x": 1, "y": 1}, "metrics": [{"key": "a", "type": "GAUGE", "value": 1}]},
    "data": {"names": ["c"], "ndarray": [[1.0]]},
}
SECOND = {
    "meta": {"tags": {"y": 2}, "requestPath": {"n": "i"}, "metrics": [{"key": "b", "type": "GAUGE", "value": 2}]},
    "data": {"ndarray": [[3.0]]},
}


@same(90)
@pytest.mark.parametrize("is_bare", [True, False], ids=["bare", "seldonMessages"])
def test_row_90_aggregate_takes_both_shapes_and_merges_meta(serve: Serve, is_bare: bool):
    messages = [FIRST, SECOND]
    status, reply = serve("rows.Combiner").ask("/aggregate", messages if is_bare else {"seldonMessages": messages})
    assert (status, reply["data"]["ndarray"]) == (200, [[2.0]])
    meta = reply["meta"]
    assert (meta["puid"], meta["tags"]) == ("p", {"x": 1, "y": 2})
    assert meta["requestPath"] == {"n": "i", "clf": "registry.example:5000/clf:0.1"}
    assert [one["key"] for one in meta["metrics"]] == ["a", "b"]


@same(90)
@pytest.mark.parametrize("body", [{}, {"seldonMessages": {}}, "text", [1], {"data": {"ndarray": [1]}}], ids=json.dumps)
def test_row_90_aggregate_of_other_shapes_is_400_bad_data(serve: Serve, body: Any):
    status, reply = serve("rows.Combiner").ask("/aggregate", body)
    assert (status, reply["status"]["reason"]) == (400, "MICROSERVICE_BAD_DATA")


@same(90)
@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([{"strData": "a"}, {"strData": "b"}], {"strData": "ab"}),
        ([{"binData": "AA=="}, {"binData": "AQ=="}], {"binData": "AAE="}),
    ],
    ids=["strData", "binData"],
)
def test_row_90_aggregate_takes_texts_and_bytes(serve: Serve, messages: Any, expected: dict[str, Any]):
    status, reply = serve("rows.Combiner").ask("/aggregate", {"seldonMessages": messages})
    assert (status, {name: reply[name] for name in expected}) == (200, expected)
    sent = pb.SeldonMessageList(seldonMessages=map(to_proto, messages))
    reply = to_json(serve("rows.Combiner").call(stubs.CombinerStub, "Aggregate", sent))
    assert {name: reply[name] for name in expected} == expected


@same(90)
def test_row_90_missing_aggregate_is_400_with_its_message(serve: Serve):
    status, reply = serve("rows.NoHooks").ask("/aggregate", [FIRST])
    assert (status, reply["status"]["info"]) == (400, "Aggregate not defined")


@better(90)
def test_row_90_aggregate_of_nothing_is_400(serve: Serve):
    status, reply = serve("rows.Combiner").ask("/aggregate", [])
    assert (status, reply["status"]["reason"]) == (400, "MICROSERVICE_BAD_DATA")


@same(94)
@pytest.mark.parametrize("hook", HOOKS)
def test_row_94_seldon_response_of_every_hook_over_both_wires(serve: Serve, hook: str):
    responses = serve("rows.Responses")
    message = {"data": {"ndarray": [[1.0]]}}
    status, reply = rest(responses, hook, message)
    assert (status, reply["meta"]["tags"]) == (200, {"by": hook, "own": True})
    assert [one["key"] for one in reply["meta"]["metrics"]] == [f"of_{hook}"]
    reply = over_grpc(responses, hook, message)
    assert part_to_json(reply.meta)["tags"] == {"by": hook, "own": True}
    assert [(one.key, one.value) for one in reply.meta.metrics] == [(f"of_{hook}", 2.0)]
    assert f"of_{hook}{{" in responses.metrics_text()
