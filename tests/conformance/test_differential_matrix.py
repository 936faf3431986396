"""Every hook of every kind of component, every kind of payload and both wires, under 1.17.1 and under ours.

Answers are compared field by field. Differences that are meant are in ``DELIBERATE`` and in ``_alike``, with their
reason; any other one fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage

from slipway.contract.protos import prediction_pb2 as pb
from tests.conformance.conftest import COMPONENTS, Start
from tests.conformance.servers import HOOKS, Server, multipart
from tests.conformance.test_microservice_differential import MESSAGES, PARAMETERS

pytestmark = pytest.mark.conformance

INTERFACES = [
    "Plain",
    "Rich",
    *(f"rows.{name}" for name in ("Raw", "Responses", "FallsBack", "SubclassFallsBack", "Tagged", "WithMeta")),
    *(f"rows.{name}" for name in ("NoHooks", "NoHooksComponent", "Failing", "Deprecated", "ByTransport", "BadMetrics")),
]
TFTENSOR = {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "2"}]}, "floatVal": [1, 2]}
KINDS: dict[str, dict[str, Any]] = {
    **MESSAGES,
    "jsonData-list": {"jsonData": [1, 2]},
    "jsonData-text": {"jsonData": "x"},
    "jsonData-number": {"jsonData": 1.5},
    "jsonData-null": {"jsonData": None},
    "ndarray-booleans": {"data": {"ndarray": [[True, False]]}},
    "ndarray-texts": {"data": {"names": ["c"], "ndarray": [["a"], ["b"]]}},
    "tensor-empty": {"data": {"tensor": {"shape": [0], "values": []}}},
    "tensor-scalar": {"data": {"tensor": {"shape": [], "values": [3]}}},
    "tftensor": {"data": {"tftensor": TFTENSOR}},
    "data-empty": {"data": {}},
    "empty": {},
    "error-403": {"strData": "forbidden"},
    "error-type": {"strData": "type"},
    "error-value": {"strData": "value"},
}
BROKEN: dict[str, dict[str, Any]] = {
    "base64": {"binData": "a"},
    "data-null": {"data": None},
    "ragged": {"data": {"ndarray": [[1], [1, 2]]}},
    "misfit": {"data": {"tensor": {"shape": [3], "values": [1]}}},
}
"""Over REST only: a client of gRPC cannot send them, or ``misfit`` is an error of either."""


@dataclass(frozen=True)
class Difference:
    """Payloads that 1.17.1 fails on, with 500 over REST. ``ours``: our status; None for that of a plain tensor."""

    reason: str
    ours: int | None = None


DELIBERATE = {
    "tftensor": Difference("1.17.1 needs tensorflow, which no component of ours needs"),
    "tensor-scalar": Difference("1.17.1 slices by the last size of the shape, of which there is none"),
    **{kind: Difference("a client's mistake is no error of the component", ours=400) for kind in BROKEN},
}


class Pair:
    """One component under both commands."""

    def __init__(self, official: Server, ours: Server) -> None:
        self.servers = (official, ours)

    def rest(self, hook: str, body: Any = None, **options: Any) -> list[Any]:
        path = "/" + hook.replace("_", "-") + options.pop("query", "")
        return [server.ask(path, body, **options) for server in self.servers]

    def grpc(self, hook: str, message: Any) -> list[Any]:
        return [server.call(*HOOKS[hook], message) for server in self.servers]


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, start_official: Start, start_ours: Start) -> Iterator[Pair]:
    """Of the class that the test's parameter names; both end with the last test of it."""
    interface = request.param
    told = {"PREDICTIVE_UNIT_PARAMETERS": PARAMETERS} if interface == "Rich" else {}
    if interface == "rows.Bytes":
        told = {"PAYLOAD_PASSTHROUGH": "true"}
    servers = [start(interface, COMPONENTS, **told) for start in (start_official, start_ours)]
    for server in servers:
        server.wait_ready()
    yield Pair(*servers)
    for server in servers:
        server.end()


def _rest_body(hook: str, message: dict[str, Any]) -> Any:
    if hook == "aggregate":
        return {"seldonMessages": [message, message]}
    if hook == "send_feedback":
        routed = {"meta": {"routing": {"clf": 1}}}
        return {"request": message, "response": routed, "reward": 0.5, "truth": message}
    return message


def _grpc_message(hook: str, message: pb.SeldonMessage) -> Any:
    if hook == "aggregate":
        return pb.SeldonMessageList(seldonMessages=[message, message])
    if hook == "send_feedback":
        return pb.Feedback(request=message, reward=0.5, truth=message)
    return message


def _alike(official: Any, ours: Any) -> bool:
    """Equal but for what is meant to differ everywhere: the sentences of errors, and the codes that gRPC has for them.

    1.17.1 answers every error over gRPC with UNKNOWN, ours with what the REST status says. The order of metrics is that
    of a dict under 1.17.1.
    """
    if isinstance(official, grpc.RpcError) or isinstance(ours, grpc.RpcError):
        return isinstance(official, grpc.RpcError) and isinstance(ours, grpc.RpcError)
    if isinstance(official, pb.SeldonMessage):
        return bool(official == ours)
    return official[0] == ours[0] and _comparable(official[1]) == _comparable(ours[1])


def _comparable(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    if isinstance(body.get("status"), dict):
        return {**body, "status": {name: part for name, part in body["status"].items() if name != "info"}}
    if isinstance(body.get("meta"), dict) and "metrics" in body["meta"]:
        metrics = sorted(body["meta"]["metrics"], key=lambda one: json.dumps(one, sort_keys=True))
        return {**body, "meta": {**body["meta"], "metrics": metrics}}
    return body


def _is_deliberate(kind: str, official: Any, ours: Any, *, of_tensor: Any) -> bool:
    found = DELIBERATE.get(kind)
    if found is None:
        return False
    if isinstance(official, grpc.RpcError):
        return found.ours is None and isinstance(ours, type(of_tensor))
    return isinstance(official, tuple) and official[0] == 500 and ours[0] == (found.ours or of_tensor[0])


def _differences(asked: Iterator[tuple[str, list[Any]]]) -> list[str]:
    """What of the answers differs and is not meant to."""
    answers = dict(asked)
    of_tensor = answers.get("tensor", (None, None))[1]
    return [
        f"{kind}: 1.17.1 {_shown(official)}, ours {_shown(ours)}"
        for kind, (official, ours) in answers.items()
        if not _alike(official, ours) and not _is_deliberate(kind, official, ours, of_tensor=of_tensor)
    ]


def _shown(answer: Any) -> str:
    return f"{answer.code()} {answer.details()}" if isinstance(answer, grpc.RpcError) else str(answer)[:300]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("pair", INTERFACES, indirect=True)
def test_every_payload_of_every_hook_is_answered_alike_over_rest(pair: Pair, hook: str):
    kinds = KINDS | BROKEN
    assert _differences((kind, pair.rest(hook, _rest_body(hook, kinds[kind]))) for kind in kinds) == []


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("pair", INTERFACES, indirect=True)
def test_every_payload_of_every_hook_is_answered_alike_over_grpc(pair: Pair, hook: str):
    wrapped = AnyMessage()
    wrapped.Pack(pb.Tensor(shape=[1]))
    messages = {kind: json_format.ParseDict(message, pb.SeldonMessage()) for kind, message in KINDS.items()}
    messages["customData"] = pb.SeldonMessage(customData=wrapped)
    asked = ((kind, pair.grpc(hook, _grpc_message(hook, message))) for kind, message in messages.items())
    assert _differences(asked) == []


@pytest.mark.parametrize("pair", ["Plain"], indirect=True)
@pytest.mark.parametrize("kind", DELIBERATE)
def test_every_listed_difference_is_one(pair: Pair, kind: str):
    message = (KINDS | BROKEN)[kind]
    hook = "send_feedback" if kind == "tensor-scalar" else "predict"
    official, ours = pair.rest(hook, _rest_body(hook, message))
    assert _is_deliberate(kind, official, ours, of_tensor=(200, None))


FORMS: dict[str, dict[str, Any]] = {
    "query": {"query": "?json=" + quote('{"data": {"ndarray": [[1, 2]]}}')},
    "query and body": {"query": "?json=" + quote('{"strData": "query"}'), "body": {"strData": "body"}},
    "form": {
        "raw": urlencode({"json": '{"strData": "form"}'}).encode(),
        "content_type": "application/x-www-form-urlencoded",
    },
    "json of another name": {"raw": b'{"strData": "x"}', "content_type": "application/vnd.x+json"},
    "multipart data": multipart(("data", "", b'{"names": ["a"], "ndarray": [[1.5]]}'), ("meta", "", b'{"puid": "p"}')),
    "multipart jsonData": multipart(("jsonData", "", b'{"a": [1]}')),
    "multipart strData": multipart(("strData", "", b"a field")),
    "multipart text file": multipart(("strData", '; filename="a.txt"', "snowman ☃".encode())),
    "multipart binary file": multipart(("binData", '; filename="a.bin"', bytes(range(256)))),
    "bare NaN": {"raw": b'{"jsonData": {"a": NaN}}'},
    "text/plain": {"raw": b'{"strData": "x"}', "content_type": "text/plain"},
    "not JSON": {"raw": b"{", "content_type": "application/json"},
    "a list": {"raw": b"[]", "content_type": "application/json"},
}


@pytest.mark.parametrize("hook", ["predict", "transform_input", "transform_output", "route"])
@pytest.mark.parametrize("pair", ["Plain", "Rich", "rows.Raw", "rows.Responses"], indirect=True)
def test_every_form_of_a_request_is_read_alike(pair: Pair, hook: str):
    assert _differences((form, pair.rest(hook, **options)) for form, options in FORMS.items()) == []


@pytest.mark.parametrize("pair", ["rows.Bytes"], indirect=True)
def test_payload_passthrough_hands_bodies_on_alike(pair: Pair):
    for content_type in ("application/json", "application/octet-stream", "text/plain"):
        assert pair.rest("predict", raw=b'"321"', content_type=content_type) == [(200, "123")] * 2
