"""Adaptive batching: what waits together is answered together, and every reply is as if it had been alone."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.microservice.batches import Batches
from slipway.microservice.batches import Job as BatchJob
from slipway.microservice.batching import NotRowsError, joinable, split
from slipway.microservice.component import component_of
from slipway.microservice.custom_metrics import CustomMetrics
from slipway.microservice.hooks import Hooks
from slipway.microservice.inputs import Input, input_of_json
from slipway.microservice.seldon_names import SeldonComponent, SeldonResponse
from slipway.microservice.threads import ComponentThreads, Raised
from tests.microservice.batches import answer
from tests.microservice.conftest import IDENTITY, Serve
from tests.waiting import eventually

MAX_BATCH = 7
HELD = 1000


class Model:
    """Tags every row; refuses a negative number; holds one number until told to go on."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.goes_on = threading.Event()

    def predict(self, X: Any, names: Any) -> Any:
        if HELD in X:
            self.goes_on.wait(30)
        self.rows.append(len(X))
        if (X < 0).any():
            raise ValueError("negative")
        return X * 3 + 1


def hooks_of(model: Any) -> Hooks:
    return Hooks(component_of(model), CustomMetrics(IDENTITY), IDENTITY)


def message(*rows: Any, **data: Any) -> dict[str, Any]:
    return {"data": {"ndarray": list(rows), **data}}


MESSAGES = st.one_of(
    st.builds(
        lambda rows: message(*rows), st.lists(st.tuples(st.integers(-2, 50), st.integers(0, 9)), min_size=1, max_size=3)
    ),
    st.builds(lambda x: message([x]), st.floats(0, 1e6)),
    st.builds(lambda x: message([x], names=["a"]), st.integers(0, 9)),
    st.builds(
        lambda x, meta: {"meta": {"puid": str(x), **meta}, **message([x, x])},
        st.integers(0, 9),
        st.sampled_from(
            [
                {},
                {"tags": {"of": "one"}},
                {"requestPath": {"node": "image:1"}},
                {"metrics": [{"key": "k", "type": "GAUGE", "value": 2}]},
            ]
        ),
    ),
    st.just({"data": {"ndarray": [1, 2]}}),
    st.just({"data": {"ndarray": "no list"}}),
)


@given(st.lists(MESSAGES, min_size=1, max_size=MAX_BATCH))
@settings(max_examples=300, deadline=None)
def test_replies_of_a_batch_are_those_of_one_request_each(messages: list[Any]):
    jobs = [job_of(one) for one in messages]
    together = answer(hooks_of(Model()), jobs)
    alone = [answer(hooks_of(Model()), [job])[0] for job in jobs]
    assert [_shown(one) for one in together] == [_shown(one) for one in alone]


def job_of(body: Any) -> BatchJob:
    return BatchJob(lambda: input_of_json(body), lambda answer, _spent_ms: answer)


def _shown(outcome: Any) -> Any:
    if isinstance(outcome, Raised):
        return type(outcome.error), str(outcome.error)
    return outcome.data.tolist(), outcome.data.dtype, outcome.names, outcome.array_kind, outcome.meta


async def test_random_interleavings_mix_no_replies():
    """Thousands of requests that come, wait and leave in any order: each reply is its own, nobody waits for nothing."""
    model, threads = Model(), ComponentThreads(2)
    batches = Batches(hooks_of(model), threads, max_batch=MAX_BATCH)
    chance = random.Random(5)

    async def ask(number: int) -> None:
        answer: Any = await batches.run(
            lambda: Input(np.array([[number]]), [], None, "ndarray"), lambda reply, _: reply
        )
        assert answer.data.tolist() == [[number * 3 + 1]]

    async def come(number: int) -> bool:
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
        asking = asyncio.create_task(ask(number))
        if chance.random() < 0.2:
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            asking.cancel()
        return not isinstance((await asyncio.gather(asking, return_exceptions=True))[0], asyncio.CancelledError)

    try:
        for _ in range(60):
            numbers = chance.sample(range(HELD), 100)
            answered = sum(await asyncio.gather(*map(come, numbers)))
            assert answered >= 50
        assert max(model.rows) <= MAX_BATCH
        assert max(model.rows) > 1, "nothing was ever answered together"
    finally:
        threads.close()


async def test_what_waits_while_the_model_is_busy_is_one_call_over_both_wires(serve: Serve):
    model = Model()
    served = await serve(model, max_batch=3)
    held = asyncio.create_task(served.post("/predict", message([HELD])))
    await eventually(lambda: served.service.threads.longest_s() > 0)
    rest = [asyncio.create_task(served.post("/predict", message([float(number)]))) for number in range(2)]
    await eventually(lambda: served.service.admission.requests == 3)
    tensor = pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[2, 1], values=[5, 6])))
    tensor.meta.tags["of"].string_value = "the caller"
    over_grpc = stubs.ModelStub(served.channel).Predict(tensor)
    await eventually(lambda: served.service.admission.requests == 4)
    model.goes_on.set()
    assert (await held)[1]["data"]["ndarray"] == [[HELD * 3 + 1]]
    assert [(await one)[1]["data"]["ndarray"] for one in rest] == [[[1.0]], [[4.0]]]
    reply = await over_grpc
    assert (list(reply.data.tensor.shape), list(reply.data.tensor.values)) == ([2, 1], [16, 19])
    assert reply.meta.tags["of"].string_value == "the caller"
    assert model.rows == [1, 4]


async def test_a_bad_request_of_a_batch_fails_alone(serve: Serve):
    model = Model()
    served = await serve(model, max_batch=4)
    held = asyncio.create_task(served.post("/predict", message([HELD])))
    await eventually(lambda: served.service.threads.longest_s() > 0)
    bodies = [message([1]), message([-1]), {"data": 5}, message([2])]
    calls = [asyncio.create_task(served.post("/predict", body)) for body in bodies]
    await eventually(lambda: served.service.admission.requests == 5)
    model.goes_on.set()
    assert [(await one)[0] for one in (held, *calls)] == [200, 200, 500, 400, 200]


async def test_a_client_that_leaves_takes_its_row_out_of_the_batch(serve: Serve):
    model = Model()
    served = await serve(model, max_batch=4)
    held = asyncio.create_task(served.post("/predict", message([HELD])))
    await eventually(lambda: served.service.threads.longest_s() > 0)
    tensor = pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[1, 1], values=[5])))
    gone = stubs.ModelStub(served.channel).Predict(tensor)
    await eventually(lambda: served.service.admission.requests == 2)
    gone.cancel()
    await eventually(lambda: served.service.admission.requests == 1)
    model.goes_on.set()
    await held
    assert (await served.post("/predict", message([1])))[0] == 200
    assert model.rows == [1, 1]


def test_a_result_that_is_no_rows_is_asked_for_one_by_one(caplog: pytest.LogCaptureFixture):
    class Mean:
        calls = 0

        def predict(self, X: Any, names: Any) -> Any:
            self.calls += 1
            return {"mean": float(np.mean(X))}

    model = Mean()
    answers = answer(hooks_of(model), [job_of(message([1, 3])), job_of(message([5, 7]))])
    assert [one.data for one in answers] == [{"mean": 2.0}, {"mean": 6.0}]
    assert model.calls == 3
    assert "Mean cannot be batched: predict gave dict for 2 rows of X" in caplog.text


class Telling:
    """Says of each call how many rows it had, as tag and as counter; holds one number until told to go on."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.goes_on = threading.Event()

    def predict(self, X: Any, names: Any) -> Any:
        if HELD in X:
            self.goes_on.wait(30)
        self.rows.append(len(X))
        metrics = [{"type": "COUNTER", "key": "rows_seen", "value": len(X)}]
        return SeldonResponse(X.tolist(), tags={"rows": len(X)}, metrics=metrics)


async def test_what_a_call_says_of_itself_is_of_one_request_and_counted_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
):
    model = Telling()
    served = await serve(model, max_batch=4)
    for _ in range(2):
        model.goes_on.clear()
        held = asyncio.create_task(served.post("/predict", message([HELD])))
        await eventually(lambda: served.service.threads.longest_s() > 0)
        calls = [asyncio.create_task(served.post("/predict", message([number]))) for number in range(3)]
        await eventually(lambda: served.service.admission.requests == 4)
        model.goes_on.set()
        replies = [(await call)[1] for call in (held, *calls)]
        assert [reply["meta"]["tags"] for reply in replies] == [{"rows": 1}] * 4
    assert "rows_seen_total" in (text := await served.metrics())
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("rows_seen_total{")] == ["8.0"]
    assert model.rows == [1, 3, 1, 1, 1, 1, 1, 1, 1], "only the first batch is asked together"
    assert caplog.text.count("Telling is not batched from now on: predict gave tags or metrics of its own") == 1


def test_meta_keeps_requests_apart_only_where_the_hook_gets_it():
    inputs = [input_of_json({"meta": {"puid": str(number)}, **message([number])}) for number in range(2)]
    assert joinable(inputs, takes_meta=False) == [[0, 1]]
    assert joinable(inputs, takes_meta=True) == [[0], [1]]


@pytest.mark.parametrize("data", [np.zeros(()), np.zeros((3, 1)), [], "text", None, {"a": 1}])
def test_split_refuses_what_is_not_one_row_for_each(data: Any):
    with pytest.raises(NotRowsError):
        split(data, [Input(np.zeros((1, 1)), [], None), Input(np.zeros((1, 1)), [], None)])


async def test_batching_is_off_unless_asked_for_and_for_raw_hooks(serve: Serve, caplog: pytest.LogCaptureFixture):
    class Raw(Model):
        def predict_raw(self, msg: Any) -> Any:
            return msg

    class Derived(Model, SeldonComponent):
        pass

    class Tagged(Model):
        def tags(self) -> dict[str, Any]:
            return {}

    class Counting(Derived):
        def metrics(self) -> list[Any]:
            return []

    assert (await serve(Model())).service.batches is None
    assert (await serve(Derived(), max_batch=4)).service.batches is not None
    assert (await serve(Raw(), max_batch=4)).service.batches is None
    assert "Raw is not batched: it has predict_raw" in caplog.text
    assert (await serve(Tagged(), max_batch=4)).service.batches is None
    assert (await serve(Counting(), max_batch=4)).service.batches is None
    assert "Tagged is not batched: it has tags" in caplog.text
    assert "Counting is not batched: it has metrics" in caplog.text
