"""A class that keeps its request on ``self``, as many do: calls of both wires, all at once, mix no replies."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from tests.microservice.conftest import Serve, Served

CALLS = 10_000
PARTS = 5
"""Tests that they are dealt out to: each stays far below a test's time limit."""
AT_ONCE = 48


class Keeping:
    """Keeps what it was asked, gives way to whoever else would run, then answers what it kept."""

    def predict(self, X: Any, names: Any) -> Any:
        self.request = X
        time.sleep(0)
        return self.request

    def transform_input(self, X: Any, names: Any) -> Any:
        return self.predict(X, names)

    def tags(self) -> dict[str, Any]:
        time.sleep(0)
        return {"of": self.request}

    def metrics(self) -> list[dict[str, Any]]:
        return [{"type": "GAUGE", "key": "last", "value": 1, "tags": {"of": self.request[-1]}}]


@pytest.mark.parametrize("part", range(PARTS))
async def test_interleaved_rest_and_grpc_calls_mix_no_replies(serve: Serve, part: int):
    served = await serve(Keeping())
    numbers = list(range(part * CALLS // PARTS, (part + 1) * CALLS // PARTS))
    random.Random(part).shuffle(numbers)
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask(number: int) -> bool:
        async with turns:
            return await (_over_rest if number % 2 else _over_grpc)(served, number)

    assert all(await asyncio.gather(*map(ask, numbers)))


async def _over_rest(served: Served, number: int) -> bool:
    path = "/predict" if number % 4 == 1 else "/transform-input"
    status, reply = await served.post(path, {"strData": f"r{number}"})
    meta = reply["meta"]
    return (status, reply["strData"], meta["tags"]["of"], meta["metrics"][0]["tags"]["of"]) == (
        200,
        f"r{number}",
        f"r{number}",
        str(number)[-1],
    )


async def _over_grpc(served: Served, number: int) -> bool:
    sent = pb.SeldonMessage(strData=f"g{number}")
    if number % 4:
        reply = await stubs.TransformerStub(served.channel).TransformInput(sent)
    else:
        reply = await stubs.ModelStub(served.channel).Predict(sent)
    return (reply.strData, reply.meta.tags["of"].string_value) == (f"g{number}", f"g{number}")
