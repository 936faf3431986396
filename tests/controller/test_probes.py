"""What a kubelet and Prometheus see of the controller."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from slipway.controller import probes
from slipway.controller.metrics import Metrics
from slipway.controller.probes import ProbesNotServed, serve_probes
from slipway.controller.queue import WorkQueue
from slipway.kube.kinds import DEPLOYMENT
from tests.waiting import eventually


@pytest.fixture
async def known() -> list[bool]:
    return [False]


@pytest.fixture
async def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def url(metrics: Metrics, known: list[bool]) -> AsyncIterator[str]:
    async with serve_probes(0, metrics, is_ready=lambda: known[0], host="127.0.0.1") as port:
        yield f"http://127.0.0.1:{port}"


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def samples(url: str) -> dict[str, float]:
    families = text_string_to_metric_families((await get(f"{url}/metrics"))[1])
    found = {}
    for family in families:
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def test_alive_before_ready(url: str, known: list[bool]) -> None:
    assert await get(f"{url}/healthz") == (200, "ok\n")
    assert (await get(f"{url}/readyz"))[0] == 503
    known[0] = True
    assert await get(f"{url}/readyz") == (200, "ok\n")
    assert (await get(f"{url}/other"))[0] == 404


async def test_metrics_have_the_names_of_controller_runtime(url: str, metrics: Metrics) -> None:
    async def look(key: tuple[str, str]) -> float | None:
        if key[1] == "bad":
            raise RuntimeError("no")
        return 60.0 if key[1] == "later" else None

    queue = WorkQueue(metrics.timed(look), lambda *_: None)
    metrics.follow_queue(queue)
    metrics.follow_leader(lambda: True)
    for name in ("good", "bad", "later"):
        queue.add(("team", name))
    assert queue.active == 3
    await eventually(lambda: not queue.active, what="the three looks")
    metrics.answered("PATCH", "200")
    metrics.watch_restarted(DEPLOYMENT, "Expired")
    found = await samples(url)
    await queue.close()
    for result in ("success", "error", "requeue_after"):
        assert found[f"controller_runtime_reconcile_total{{controller=seldondeployment,result={result}}}"] == 1
    assert found["controller_runtime_reconcile_errors_total{controller=seldondeployment}"] == 1
    assert found["controller_runtime_reconcile_time_seconds_count{controller=seldondeployment}"] == 3
    assert found["controller_runtime_max_concurrent_reconciles{controller=seldondeployment}"] == 8
    assert found["workqueue_depth{name=seldondeployment}"] == 0
    assert found["leader_election_master_status{name=slipway-controller}"] == 1
    assert found["rest_client_requests_total{code=200,method=PATCH}"] == 1
    assert found["slipway_watch_restarts_total{reason=Expired,resource=deployments.apps}"] == 1


async def test_depth_is_what_waits(metrics: Metrics, url: str) -> None:
    gate = asyncio.Event()

    async def look(_: tuple[str, str]) -> None:
        await gate.wait()

    queue = WorkQueue(metrics.timed(look), lambda *_: None)
    metrics.follow_queue(queue)
    for number in range(11):
        queue.add(("team", str(number)))
    queue.add(("team", "0"))
    found = await samples(url)
    await queue.close()
    assert found["workqueue_depth{name=seldondeployment}"] == 4, "three wait for a slot, one for its next look"
    assert found["controller_runtime_active_workers{controller=seldondeployment}"] == 8


async def test_connections_are_bounded_in_number_and_in_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(url.rpartition(":")[2])
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(probes.MAX_CONNECTIONS)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):  # hung up, too
        assert await reader.read() == b""
    for _, one in [*held, (reader, writer)]:
        one.close()
    await eventually(lambda: _answers(url), what="an answer after the others have left")
    monkeypatch.setattr(probes, "CONNECTION_S", 0.05)
    async with serve_probes(0, Metrics(), is_ready=bool, host="127.0.0.1") as other:
        reader, writer = await asyncio.open_connection("127.0.0.1", other)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ")  # and never the rest
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def _answers(url: str) -> bool:
    try:
        return (await get(f"{url}/healthz"))[0] == 200
    except aiohttp.ClientError:
        return False


async def test_port_that_is_taken_is_said(url: str) -> None:
    port = int(url.rpartition(":")[2])
    with pytest.raises(ProbesNotServed, match=f"--health-port {port}: "):
        async with serve_probes(port, Metrics(), is_ready=bool, host="127.0.0.1"):
            pass
