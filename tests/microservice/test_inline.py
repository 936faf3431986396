"""``--inline``: calls in the event loop itself."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import grpc
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.microservice.inline import InlineCalls
from slipway.serving.errors import ServingError

NAMED = """
import threading
class Mod:
    def __init__(self):
        self.made_in = threading.current_thread().name
    def load(self):
        self.loaded_in = threading.current_thread().name
    def predict(self, X, names):
        if len(X) > 1:
            raise ValueError("one row is expected")
        return {"made": self.made_in, "loaded": self.loaded_in, "called": threading.current_thread().name}
    def health_status(self):
        return threading.current_thread().name
"""


def _post(address: str, body: object) -> dict[str, object]:
    request = urllib.request.Request(
        f"http://{address}/predict", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        found: dict[str, object] = json.load(response)
    return found


def test_calls_of_both_protocols_and_the_load_run_in_the_thread_of_the_event_loop(start_process):
    rest, target, _ = start_process(NAMED, "--inline").ready()
    names = {"made": "MainThread", "loaded": "MainThread", "called": "MainThread"}
    assert _post(rest, {"data": {"ndarray": [[1]]}})["jsonData"] == names
    with grpc.insecure_channel(target) as channel:
        reply = stubs.ModelStub(channel).Predict(pb.SeldonMessage(strData="x"), timeout=10)
    assert reply.jsonData.struct_value.fields["called"].string_value == "MainThread"
    with urllib.request.urlopen(f"http://{rest}/health/status", timeout=20) as response:
        assert json.load(response)["strData"] == "MainThread"


def test_what_a_call_raises_is_that_requests_answer_alone(start_process):
    process = start_process(NAMED, SLIPWAY_INLINE="true")
    rest = process.ready()[0]
    with pytest.raises(urllib.error.HTTPError) as refused:
        _post(rest, {"data": {"ndarray": [[1], [2]]}})
    with refused.value as answer:
        assert answer.code == 500
        assert "one row is expected" in json.load(answer)["status"]["info"]
    assert _post(rest, {"data": {"ndarray": [[1]]}})["jsonData"]


async def test_what_would_end_the_event_loop_is_an_error_of_the_call() -> None:
    def leave() -> None:
        raise SystemExit(3)

    waits: list[float] = []
    calls = InlineCalls()
    with pytest.raises(ServingError, match="SystemExit"):
        await calls.run(leave, waited=waits.append)
    assert waits == [0.0]
    assert calls.longest_s() == 0
    assert await calls.run(threading.get_ident) == threading.get_ident()
