"""Payload events on their way: retries, bounds, losses that are counted, and the end of an executor that has some left."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.controller import ending
from slipway.executor import payload_log, payload_log_losses, payload_log_sender
from slipway.executor.errors import SettingError
from slipway.executor.limits import LOG_FLUSH_S
from slipway.executor.settings import parse_settings
from slipway.serving import tracing_queue
from slipway.serving.limits import DRAIN_S, GRACE_S
from tests.data import REPOSITORY
from tests.executor.executors import Executor, executor
from tests.executor.nodes import Node, serving
from tests.executor.receivers import REQUEST, RESPONSE, logged, receiver
from tests.executor.test_process import run_to_the_end, started, write
from tests.ports import free_ports
from tests.waiting import eventually

BODY = b'{"data":{"ndarray":[[0]]}}'
ANSWER = b'{"data":{"ndarray":[[1]]}}'


async def metric(client: Executor, name: str) -> float:
    text = (await client.get("/prometheus")).body.decode()
    found = re.search(rf"^{re.escape(f'slipway_payload_log_{name}')} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def lost(client: Executor, reason: str) -> float:
    return await metric(client, f'dropped_total{{reason="{reason}"}}')


async def test_receiver_that_never_answers_delays_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_log, "LOG_FLUSH_S", 0.0)
    node = Node("clf")
    flags = ["--log_work_buffer_size", "3", "--log_write_timeout_ms", "0", "--logger_workers", "2"]
    async with (
        receiver(answers=False) as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink, "request")), flags=flags) as client,
    ):
        begun = time.monotonic()
        for _ in range(20):
            assert (await client.post(BODY)).status == 200
        took_s = time.monotonic() - begun
        await eventually(lambda: len(sink.events) == 2, what="two events under way")
        assert await lost(client, "queue_full") == 15
        assert await metric(client, "waiting") == 3
        assert await metric(client, "held_bytes") == 5 * (1024 + len(BODY))
    assert took_s < payload_log_sender.LOG_DELIVERY_TIMEOUT_S  # one wait for the receiver would be as long


async def test_events_above_the_bound_on_bytes_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.executor.engine.MAX_LOG_BYTES", 100_000)
    node, photo = Node("clf"), {"Content-Type": "image/jpeg"}
    async with (
        receiver() as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink, "request"))) as client,
    ):
        await client.post(bytes(200_000), headers=photo)
        await client.post(bytes(50_000), headers=photo)
        (event,) = await sink.received(1)
        assert await lost(client, "bytes") == 1
        await eventually(lambda: _is_empty(client), what="nothing held")
    assert len(event.body) == 50_000


async def _is_empty(client: Executor) -> bool:
    return await metric(client, "held_bytes") == 0


async def test_event_that_waits_too_long_for_a_place_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_log, "LOG_FLUSH_S", 0.0)
    node = Node("clf")
    flags = ["--log_work_buffer_size", "1", "--log_write_timeout_ms", "50", "--logger_workers", "1"]
    async with (
        receiver(answers=False) as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink, "request")), flags=flags) as client,
    ):
        for _ in range(4):
            await client.post(BODY)
        await eventually(lambda: _lost_two(client), what="two events given up")
        assert await metric(client, "waiting") == 1


async def _lost_two(client: Executor) -> bool:
    return await lost(client, "queue_full") == 2


async def test_passing_failures_of_a_receiver_are_tried_again_with_the_same_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payload_log, "LOG_RETRY_PAUSES_S", (0.0, 0.0))
    node = Node("clf")
    async with receiver() as sink, serving(node):
        sink.status = lambda number: (503, 429, 200)[number]
        async with executor(node.graph("MODEL", **logged(sink, "request"))) as client:
            await client.post(BODY)
            await sink.received(3)
            await eventually(lambda: _delivered(client), what="the delivery counted")
    assert len({event.headers["ce-id"] for event in sink.events}) == 1
    assert {event.body for event in sink.events} == {BODY}


async def _delivered(client: Executor) -> bool:
    return await metric(client, "delivered_total") == 1


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(payload_log, "LOG_RETRY_PAUSES_S", (0.0, 0.0))
    return


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize(
    ("status", "attempts", "reason"), [(400, 1, "refused"), (307, 1, "refused"), (500, 3, "unreachable")]
)
async def test_events_that_no_attempt_delivers_are_counted(
    status: int, attempts: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node("clf")
    async with receiver() as sink, serving(node):
        sink.status = lambda _: status
        async with executor(node.graph("MODEL", **logged(sink, "request"))) as client:
            await client.post(BODY)
            await eventually(lambda: lost(client, reason), what="the loss counted")
    await sink.received(attempts)
    assert (
        f"payload events lost: {reason} 1; the last: node clf to {sink.url.rstrip('/')}: answered {status}"
        in caplog.text
    )


@pytest.mark.usefixtures("quick_retries")
async def test_password_in_the_url_reaches_the_receiver_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    node = Node("clf")
    async with receiver() as sink, serving(node):
        sink.status = lambda _: 403
        secret = sink.url.replace("http://", "http://ada:hunter2@") + "?token=hunter2"
        gone = "http://ada:hunter2@127.0.0.1:1/hunter2@x?token=hunter2"
        graph = node.graph("MODEL", logger={"mode": "request", "url": secret})
        graph["children"] = [
            Node("below", http_port=node.http_port).graph("MODEL", logger={"mode": "all", "url": gone})
        ]
        async with executor(graph) as client:
            await client.post(BODY)
            await eventually(lambda: lost(client, "unreachable"), what="the loss counted")
            exposed = (await client.get("/prometheus")).body.decode()
    assert {event.headers["Authorization"] for event in sink.events} == {"Basic YWRhOmh1bnRlcjI="}
    assert "payload events lost" in caplog.text
    assert "hunter2" not in exposed
    assert "hunter2" not in caplog.text


@pytest.mark.usefixtures("quick_retries")
async def test_losses_are_told_at_once_and_then_seldom(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload_log_losses, "LOG_COMPLAINT_S", 3600.0)
    node = Node("clf")
    async with serving(node):
        graph = node.graph("MODEL", logger={"mode": "request", "url": "http://127.0.0.1:1/"})
        async with executor(graph) as client:
            for _ in range(30):
                await client.post(BODY)
            await eventually(lambda: _lost_thirty(client), what="all losses counted")
            lines = [one.getMessage() for one in caplog.records if "payload events lost" in one.getMessage()]
            assert len(lines) == 1
            assert lines[0].startswith("payload events lost: unreachable 1; the last: node clf to http://127.0.0.1:1: ")
    assert "payload events lost: unreachable 29; the last: " in caplog.text


async def _lost_thirty(client: Executor) -> bool:
    return await lost(client, "unreachable") == 30


async def test_events_under_way_are_flushed_at_the_end() -> None:
    node = Node("clf")
    async with receiver() as sink, serving(node):
        async with executor(node.graph("MODEL", **logged(sink)), flags=["--logger_workers", "1"]) as client:
            await asyncio.gather(*(client.post(BODY) for _ in range(50)))
        assert len(sink.events) == 100


async def test_end_waits_for_a_bounded_time_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(payload_log, "LOG_FLUSH_S", 0.05)
    node = Node("clf")
    async with (
        receiver(answers=False) as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink)), flags=["--logger_workers", "1"]) as client,
    ):
        for _ in range(5):
            await client.post(BODY)
    assert "payload events lost: shutdown 10" in caplog.text


async def test_many_large_protobuf_payloads_are_logged_whole() -> None:
    node = Node("clf")
    message = pb.SeldonMessage()
    message.data.tensor.shape.extend([40_000])
    message.data.tensor.values.extend(float(number) for number in range(40_000))
    async with receiver() as sink, serving(node), executor(node.graph("MODEL", **logged(sink))) as client:
        await asyncio.gather(*(client.call(message) for _ in range(3)))
        await sink.received(6)
    for event in sink.events:
        assert json.loads(event.body)["data"]["tensor"]["values"][-1] == 39_999.0


async def test_localhost_is_the_pod_s_own_address() -> None:
    node = Node("clf")
    async with receiver() as sink, serving(node):
        url = sink.url.replace("127.0.0.1", "localhost")
        hosts = {"SLIPWAY_POD_IP": "127.0.0.1"}
        graph = node.graph("MODEL", logger={"mode": "request", "url": url})
        async with executor(graph, environment=hosts) as client:
            await client.post(BODY)
            (event,) = await sink.received(1)
    assert event.headers["Host"].startswith("localhost:")


async def test_names_of_services_come_from_the_hosts_file(tmp_path: Path) -> None:
    node = Node("clf")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 sink.default.svc.cluster.local\n")
    async with receiver() as sink, serving(node):
        url = sink.url.replace("127.0.0.1", "sink.default.svc.cluster.local")
        graph = node.graph("MODEL", logger={"mode": "request", "url": url})
        async with executor(graph, environment={"SLIPWAY_HOSTS": str(hosts)}) as client:
            await client.post(BODY)
            await sink.received(1)


async def test_nothing_is_started_where_no_node_has_a_logger() -> None:
    node = Node("clf")
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.post(BODY)
        assert "payload log" not in {task.get_name() for task in asyncio.all_tasks()}
        assert await metric(client, "delivered_total") == 0


def test_kafka_is_refused_with_a_sentence() -> None:
    with pytest.raises(SettingError, match=r"LOGGER_KAFKA_BROKER is not offered: .* over HTTP"):
        parse_settings([], {"LOGGER_KAFKA_BROKER": "kafka:9092"})


@pytest.mark.parametrize(
    "words",
    [
        ["--log_work_buffer_size", "0"],
        ["--log-work-buffer-size", "many"],
        ["--log_write_timeout_ms", "-1"],
        ["--logger_workers", "0"],
        ["--logger-workers", "65"],
    ],
)
def test_numbers_that_bound_nothing_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(words, {})
    assert f"{words[1]!r} is no whole number from" in capsys.readouterr().err


def test_flags_of_the_operator_are_taken() -> None:
    flags = ["--log_work_buffer_size", "7", "--log_write_timeout_ms", "250", "--logger_workers", "3"]
    found = parse_settings([*flags, "--hostname", "me", "--http_port", "9"], {"REQUEST_LOGGER_DEFAULT_ENDPOINT": "u"})
    assert (found.log_entries, found.log_wait_s, found.log_workers) == (7, 0.25, 3)
    assert (found.log_source, found.log_url) == ("http://me:9/", "u")


async def test_logger_that_is_added_to_a_running_predictor_counts_and_sigterm_flushes(tmp_path: Path) -> None:
    node, path = Node("clf"), tmp_path / "predictor.json"
    async with receiver(answers=False) as sink, serving(node):
        write(path, node.graph("MODEL"))
        async with started("--predictor-file", str(path), "--logger_workers", "1") as process:
            await eventually(process.is_ready)
            await process.predict()
            write(path, node.graph("MODEL", **logged(sink)))

            async def first_event() -> bool:
                await process.predict()
                return bool(sink.events)

            await eventually(first_event)
            process.process.send_signal(signal.SIGTERM)
            sink.gate.set()
            assert await asyncio.wait_for(process.process.wait(), 10) == 0
    assert len(sink.events) % 2 == 0
    assert {event.kind for event in sink.events} == {REQUEST, RESPONSE}
    assert not [line for line in process.log if "payload events lost" in line]


def test_end_of_an_executor_fits_into_that_of_its_pod() -> None:
    flush_s = max(LOG_FLUSH_S, tracing_queue.FLUSH_S + tracing_queue.ABANDON_S)  # at once
    assert DRAIN_S + GRACE_S + flush_s < ending.GRACE_S
    assert ending.CLUSTER_DRAIN_S + GRACE_S + flush_s + ending.PROXY_DRAIN_S < ending.CLUSTER_GRACE_S


async def test_kafka_in_the_environment_ends_the_start_with_a_sentence() -> None:
    code, text = await run_to_the_end(LOGGER_KAFKA_BROKER="kafka:9092")
    assert code == 1
    assert "LOGGER_KAFKA_BROKER is not offered" in text


async def test_receiver_of_the_page_prints_what_the_page_says() -> None:
    page = (REPOSITORY / "docs" / "observability.md").read_text()
    (program,) = re.findall(r"^python - <<'END'\n(.*?)^END$", page, re.DOTALL | re.MULTILINE)
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program.replace("9090", str(port)), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    node = Node("clf")
    try:
        assert process.stdout is not None
        await eventually(lambda: _accepts(port), what="the page's receiver")
        logger = {"mode": "all", "url": f"http://127.0.0.1:{port}/"}
        async with serving(node), executor(node.graph("MODEL", logger=logger)) as client:
            await client.post(BODY)
            lines = [await asyncio.wait_for(process.stdout.readline(), 10) for _ in range(2)]
    finally:
        process.kill()
        await process.wait()
    assert sorted(line.decode() for line in lines) == [f"clf {REQUEST} {BODY!r}\n", f"clf {RESPONSE} {ANSWER!r}\n"]


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_name_server_that_does_not_answer_holds_up_no_request_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_log, "LOG_FLUSH_S", 0.0)
    asked, release = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def slow(host: Any, *rest: Any, **options: Any) -> Any:
        if host != "sink.example":
            return real(host, *rest, **options)
        asked.set()
        release.wait()
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    node = Node("clf")
    try:
        async with serving(node):
            graph = node.graph("MODEL", logger={"mode": "all", "url": "http://sink.example/"})
            async with executor(graph) as client:
                for _ in range(40):
                    assert (await client.post(BODY)).status == 200
                await eventually(asked.is_set, what="a lookup under way")
            await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), 5)
    finally:
        release.set()


@pytest.mark.usefixtures("quick_retries")
async def test_receiver_whose_name_is_unknown_is_unreachable(caplog: pytest.LogCaptureFixture) -> None:
    node = Node("clf")
    async with serving(node):
        graph = node.graph("MODEL", logger={"mode": "request", "url": "http://no-such-host.invalid/in"})
        async with executor(graph) as client:
            await client.post(BODY)
            await eventually(lambda: lost(client, "unreachable"), what="the loss counted")
    assert "node clf to http://no-such-host.invalid: " in caplog.text
