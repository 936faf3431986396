"""What autoscalers read: requests under way, and how long they waited for the component."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from slipway.serving.pressure import BUCKETS_S, IN_FLIGHT, QUEUE_SECONDS, QueueDelay
from tests.microservice.conftest import Serve, Served
from tests.waiting import eventually


class Model:
    """Computes until told to go on."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()

    def predict(self, X: Any, names: Any) -> Any:
        self.goes_on.wait(30)
        return X


async def _sample(served: Served, name: str) -> float:
    families = text_string_to_metric_families(await served.metrics())
    return next(sample.value for family in families for sample in family.samples if sample.name == name)


async def _held(served: Served, count: int, *, rows: int = 1) -> list[asyncio.Task[tuple[int, Any]]]:
    body = {"data": {"ndarray": [[1]] * rows}}
    calls = [asyncio.create_task(served.post("/predict", body)) for _ in range(count)]
    await eventually(lambda: served.service.admission.requests == count, what=f"{count} requests")
    return calls


async def test_requests_under_way_are_shown(serve: Serve):
    model = Model()
    served = await serve(model)
    assert await _sample(served, IN_FLIGHT) == 0
    calls = await _held(served, 3)
    assert await _sample(served, IN_FLIGHT) == 3
    model.goes_on.set()
    await asyncio.gather(*calls)
    assert await _sample(served, IN_FLIGHT) == 0
    assert f'{IN_FLIGHT}{{deployment_name="' in await served.metrics()


async def test_each_wait_for_the_component_is_observed_once(serve: Serve):
    model = Model()
    served = await serve(model)
    calls = await _held(served, 3)
    await eventually(lambda: served.service.threads.busy == 3)
    assert await _sample(served, f"{QUEUE_SECONDS}_count") == 1  # the two others still wait
    model.goes_on.set()
    await asyncio.gather(*calls)
    assert await _sample(served, f"{QUEUE_SECONDS}_count") == 3
    assert await _sample(served, f"{QUEUE_SECONDS}_sum") > 0


async def test_health_questions_are_no_requests(serve: Serve):
    served = await serve(Model())
    assert (await served.get("/health/status"))[0] == 200
    assert await _sample(served, f"{QUEUE_SECONDS}_count") == 0


async def test_each_job_of_a_batch_is_observed_once(serve: Serve):
    model = Model()
    served = await serve(model, max_batch=8)
    calls = await _held(served, 5)
    model.goes_on.set()
    assert [status for status, _ in await asyncio.gather(*calls)] == [200] * 5
    assert await _sample(served, f"{QUEUE_SECONDS}_count") == 5


async def test_a_client_that_leaves_the_queue_has_waited_too(serve: Serve):
    model = Model()
    served = await serve(model)
    first, second = await _held(served, 2)
    await eventually(lambda: served.service.threads.busy == 2)
    second.cancel()
    await eventually(lambda: served.service.threads.busy == 1)
    assert await _sample(served, f"{QUEUE_SECONDS}_count") == 2
    model.goes_on.set()
    await first


def test_waits_fall_into_cumulative_buckets():
    delay = QueueDelay()
    for waited_s in (0.0, 0.001, 0.3, 99.0):
        delay.observe(waited_s)
    found = {sample.labels.get("le", sample.name): sample.value for sample in delay.family({"a": "b"}).samples}
    assert (found["0.001"], found["0.25"], found["0.5"], found["10.0"], found["+Inf"]) == (2, 2, 3, 3, 4)
    assert (found[f"{QUEUE_SECONDS}_count"], found[f"{QUEUE_SECONDS}_sum"]) == (4, 99.301)
    assert len(found) == len(BUCKETS_S) + 3
