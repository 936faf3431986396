"""Random orders of coming, leaving, computing and answering, through the real batching code on a stepped component thread.

One interleaving is one seed: who comes with what and when, who leaves, when a call begins and when its end is told.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import uvloop

from model_wrappers.darknet.engines import Engine, open_engine
from models.shapes.evaluate import shapes_model
from slipway.microservice.batches import Batches
from slipway.microservice.component import component_of
from slipway.microservice.custom_metrics import CustomMetrics
from slipway.microservice.hooks import Hooks
from slipway.microservice.inputs import Input
from tests.microservice.conftest import IDENTITY

INTERLEAVINGS = 100_000
PARTS = 10
"""Tests that they are dealt out to: each stays far below a test's time limit."""
MAX_BATCH = 4
MOST_REQUESTS = 6
SPIN = 4
"""Turns of the event loop after which nothing moves any more without a step."""


class Tagging:
    """Integers to integers, row by row; counts the rows of its calls. A negative number is an error."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, X: Any, names: Any) -> Any:
        self.calls.append(len(X))
        if (X < 0).any():
            raise ValueError("negative")
        return X * 1_000_003 + 17


def _inputs() -> list[Input]:
    """What requests carry: one row or several, of two shapes, with and without names and meta, and one that fails."""
    rows = [np.array([[number]]) for number in range(12)]
    rows += [np.array([[number], [number + 1]]) for number in range(20, 24)]
    rows += [np.array([[number, number]]) for number in range(30, 34)]
    rows += [np.array([[-1]]), np.array([[5], [-7]])]
    plain = [Input(one, [], _meta(number), "ndarray") for number, one in enumerate(rows)]
    return [*plain, Input(np.array([[40]]), ["a"], None, "ndarray"), Input(np.array([[41]]), ["a"], None, "ndarray")]


def _meta(number: int) -> dict[str, Any] | None:
    """Another one for each request, each part of it for some."""
    every = {
        "puid": f"p{number}",
        "tags": {"of": number},
        "requestPath": {f"node{number}": "image:1"},
        "metrics": [{"key": "k", "type": "GAUGE", "value": number}],
    }
    return {key: part for place, (key, part) in enumerate(every.items()) if number >> place & 1} or None


class SteppedThreads:
    """As ComponentThreads: a call begins, and its end is told, when the test says so."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self.computed: list[tuple[Any, asyncio.Future[Any]]] = []

    async def run(self, call: Callable[[], Any]) -> Any:
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append((call, told))
        return await told

    def begin(self) -> None:
        call, told = self.waiting.pop(0)
        self.computed.append((call(), told))

    def tell(self, place: int) -> None:
        found, told = self.computed.pop(place)
        told.set_result(found)


class Interleaving:
    """One random run: every step is drawn from ``chance`` among those that are possible."""

    def __init__(self, hooks: Hooks, inputs: list[Input], chance: random.Random) -> None:
        self.chance = chance
        self.threads = SteppedThreads(chance.choice((1, 1, 2)))
        self.batches = Batches(hooks, self.threads, max_batch=chance.randint(2, MAX_BATCH))  # type: ignore[arg-type]
        self.inputs = inputs
        self.to_come = [chance.randrange(len(inputs)) for _ in range(chance.randint(2, MOST_REQUESTS))]
        self.asked: list[tuple[int, asyncio.Task[Any]]] = []
        self.left: set[int] = set()

    async def run(self) -> list[tuple[int, Any]]:
        """Which input each request had, and its reply: None where its client left before."""
        while steps := self._steps():
            self.chance.choice(steps)()
            for _ in range(self.chance.choice((0, 1, SPIN))):
                await asyncio.sleep(0)
            if not (self.to_come or self.threads.waiting or self.threads.computed):
                for _ in range(SPIN):
                    await asyncio.sleep(0)
        outcomes = await asyncio.gather(*(task for _, task in self.asked), return_exceptions=True)
        return [(which, _shown(outcome)) for (which, _), outcome in zip(self.asked, outcomes, strict=True)]

    def _steps(self) -> list[Callable[[], None]]:
        steps: list[Callable[[], None]] = []
        if self.to_come:
            steps += [self._come] * 3
        if self.threads.waiting and len(self.threads.computed) < self.threads.count:
            steps += [self.threads.begin] * 2
        if self.threads.computed:
            place = self.chance.randrange(len(self.threads.computed))
            steps += [lambda: self.threads.tell(place)] * 2
        if steps and (present := [place for place, (_, task) in enumerate(self.asked) if not task.done()]):
            steps.append(lambda: self._leave(self.chance.choice(present)))
        return steps

    def _come(self) -> None:
        which = self.to_come.pop()
        asking = self.batches.run(lambda: self.inputs[which], lambda answer, _spent_ms: answer)
        self.asked.append((which, asyncio.get_running_loop().create_task(asking)))

    def _leave(self, place: int) -> None:
        self.left.add(place)
        self.asked[place][1].cancel()


def _shown(outcome: Any) -> Any:
    if isinstance(outcome, asyncio.CancelledError):
        return None
    if isinstance(outcome, Exception):
        return type(outcome), str(outcome)
    form = outcome.data.dtype, outcome.data.shape, outcome.names, outcome.array_kind
    return outcome.data.tobytes(), *form, outcome.meta


def _alone(hooks: Hooks, one: Input) -> Any:
    """What a batch of one answers."""
    try:
        return _shown(hooks.predict(one))
    except ValueError as error:
        return _shown(error)


def hooks_of(model: Any) -> Hooks:
    return Hooks(component_of(model), CustomMetrics(IDENTITY), IDENTITY)


@pytest.mark.parametrize("part", range(PARTS))
def test_reply_of_every_interleaving_is_the_one_of_a_batch_of_one(part: int):
    model = Tagging()
    hooks, inputs = hooks_of(model), _inputs()
    alone = [_alone(hooks, one) for one in inputs]
    model.calls.clear()
    seeds = range(part * INTERLEAVINGS // PARTS, (part + 1) * INTERLEAVINGS // PARTS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as where it serves
        answered = runner.run(_check_interleavings(hooks, inputs, alone, seeds))
    assert answered > len(seeds)
    assert max(model.calls) > 2, "nothing was ever answered together"


async def _check_interleavings(hooks: Hooks, inputs: list[Input], alone: list[Any], seeds: range) -> int:
    """How many replies there were."""
    answered = 0
    for seed in seeds:
        one = Interleaving(hooks, inputs, random.Random(seed))
        for place, (which, shown) in enumerate(await one.run()):
            if shown is None:
                assert place in one.left, seed
            else:
                assert shown == alone[which], seed
                answered += 1
        assert not one.batches._waiting, seed
        assert one.batches._turns == 0, seed
    return answered


class Network:
    """The shapes' YOLO: photos as rows of floats, the first head's numbers out."""

    def __init__(self, engine: Engine, size: int) -> None:
        self.engine, self.size = engine, size
        self.calls: list[int] = []

    def predict(self, X: Any, names: Any) -> Any:
        self.calls.append(len(X))
        heads = self.engine.run(X.astype(np.uint8).reshape(-1, self.size, self.size, 3))
        return heads[0].reshape(len(X), -1)


async def test_network_s_replies_of_any_interleaving_are_within_a_hundred_thousandth():
    size = 192
    model = Network(open_engine("onnxruntime", shapes_model(2), threads=1), size)
    hooks, chance = hooks_of(model), np.random.default_rng(3)
    photos = [chance.integers(0, 256, (1, size * size * 3)).astype(float) for _ in range(6)]
    inputs = [Input(photo, [], None, "tensor") for photo in photos]
    alone = [model.predict(photo, []) for photo in photos]
    model.calls.clear()
    for seed in range(200):
        for which, shown in await Interleaving(hooks, inputs, random.Random(seed)).run():
            if shown is not None:
                reply = np.frombuffer(shown[0], shown[1]).reshape(shown[2])
                np.testing.assert_allclose(reply, alone[which], rtol=0, atol=1e-5)
    assert max(model.calls) > 2, "nothing was ever answered together"
