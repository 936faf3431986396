"""`slipway access`: lines that Envoys of tests wrote, and files of every shape."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from slipway.cli import access
from slipway.cli.access_lines import Wanted, parse_line, render_entries, retries
from slipway.cli.main import main
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as pb_grpc
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import destination_rule, virtual_service, world
from tests.waiting import eventually

PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"


def entry(second: int, **values: Any) -> dict[str, Any]:
    return {
        "time": f"2026-11-21T20:00:{second:02d}.000Z",
        "deployment": "yolo",
        "namespace": "default",
        "predictor": "stable",
        "status": 200,
        "attempts": 1,
        **values,
    }


def write(path: Path, *entries: Any) -> None:
    with path.open("a") as file:
        file.writelines(f"{item if isinstance(item, str) else json.dumps(item)}\n" for item in entries)


@pytest.fixture
def logs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def run(*words: str) -> Any:
    return CliRunner().invoke(main, ["access", *words])


def times(output: str) -> list[int]:
    return [int(json.loads(line)["time"][17:19]) for line in output.splitlines()]


def test_access_merges_both_envoys_and_what_was_rotated_by_time(logs):
    write(logs / "access-0.log.1", entry(1), entry(5))
    write(logs / "access-0.log", entry(7), entry(6))
    write(logs / "access-1.log", entry(2), entry(8))
    assert times(run("--json").output) == [1, 2, 5, 6, 7, 8]
    assert times(run("--json", "--tail", "2").output) == [7, 8]


def test_access_takes_what_was_asked_for(logs):
    write(
        logs / "access-0.log",
        entry(1),
        entry(2, deployment="other"),
        entry(3, namespace="user-ada"),
        entry(4, status=503, reason="UPSTREAM_TIMEOUT"),
        entry(5, predictor="canary"),
        entry(6, deployment=None, status=404),
    )
    assert times(run("yolo", "--json").output) == [1, 3, 4, 5]
    assert times(run("-n", "user-ada", "--json").output) == [3]
    assert times(run("--status", "503", "--json").output) == [4]
    assert times(run("--status", "4xx", "--json").output) == [6]
    assert times(run("--reason", "UPSTREAM_TIMEOUT", "--json").output) == [4]
    assert times(run("yolo", "--predictor", "canary", "--json").output) == [5]
    assert run("--since", "1s", "--json").output == ""


def test_access_passes_over_torn_lines(logs):
    write(logs / "access-0.log", '{"time": "2026-11', entry(1), "null", "[]", '{"time": 7}', "")
    assert times(run("--json").output) == [1]


def test_access_table_shows_retries_and_no_control_characters(logs):
    write(logs / "access-0.log", entry(1, attempts=3, pod="yolo-a", path="/x\x1b[2J", reason=None))
    heading, line = run().output.splitlines()
    cells = dict(zip(heading.split(), line.replace(" 20:", "T20:").split(), strict=False))
    assert (cells["RETRIES"], cells["POD"], cells["REASON"], cells["VERSION"]) == ("2", "yolo-a", "-", "-")
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ({"status": 0, "details": "downstream_remote_disconnect"}, (499, "CLIENT_CLOSED")),
        ({"status": 0, "details": "http2.remote_reset"}, (499, "CLIENT_CLOSED")),
        ({"status": 200, "details": "downstream_remote_disconnect"}, (200, "CLIENT_CLOSED")),
        ({"status": 503, "details": "downstream_remote_disconnect", "reason": "OVERLOADED"}, (503, "OVERLOADED")),
        ({"status": 0, "details": "http2.too_many_headers"}, (None, "MALFORMED_REQUEST")),
        ({"status": 0, "details": None}, (None, None)),
        ({"status": 200, "details": "via_upstream"}, (200, None)),
    ],
)
def test_what_was_never_answered_has_a_code_and_a_reason(written, shown):
    found = parse_line(json.dumps(entry(1, **written)))
    assert found is not None
    assert (found["status"], found.get("reason")) == shown


def test_clients_that_left_are_found_by_code_and_by_reason(logs):
    left = entry(1, status=0, details="downstream_remote_disconnect")
    write(logs / "access-0.log", left, entry(2), entry(3, status=0, details="http2.too_many_headers"))
    for words in (("--status", "499"), ("--status", "4xx"), ("--reason", "CLIENT_CLOSED")):
        assert times(run(*words, "--json").output) == [1]
    _, *rows = run().output.splitlines()
    assert [row.split()[4:6] for row in rows] == [["499", "CLIENT_CLOSED"], ["200", "-"], ["-", "MALFORMED_REQUEST"]]


def test_access_without_a_log_or_with_an_odd_filter_says_what_would_be_right(logs):
    assert (run().exit_code, "slipway up" in run().output) == (3, True)
    write(logs / "access-0.log", entry(1))
    assert (run("--status", "6xx").exit_code, run("--since", "soon").exit_code) == (2, 2)
    assert "no such request" in run("nobody").output


def test_follow_reads_on_over_a_rotation(logs):
    log = logs / "access-0.log"
    write(log, entry(1))
    ends = {log: log.stat().st_size, logs / "access-1.log": 0}
    found = access.follow_entries(ends, Wanted("yolo"))
    write(log, entry(2))
    assert next(found) == entry(2)
    log.rename(logs / "access-0.log.1")
    write(logs / "access-0.log.1", entry(3))
    write(log, entry(4), entry(5, deployment="other"))
    write(logs / "access-1.log", entry(6))
    assert {item["time"] for item in itertools.islice(found, 3)} == {entry(n)["time"] for n in (3, 4, 6)}
    found.close()


@given(st.text() | st.dictionaries(st.text(), st.none() | st.integers() | st.text()).map(json.dumps))
def test_any_line_is_read_or_passed_over(line):
    found = parse_line(line)
    if found is not None:
        Wanted("x", status="5xx").takes(found)
        assert retries(found) >= 0
        assert len(render_entries([found]).splitlines()) == 2


@pytest.mark.e2e
async def test_access_shows_what_envoys_wrote(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    rules = [destination_rule("stable", loadBalancer={"simple": "ROUND_ROBIN"})]
    async with running_upstreams(stable=2) as upstreams:
        objects = world([virtual_service({"stable": 0})], upstreams.predictors(), ports=upstreams.ports, rules=rules)
        async with running_gateway(tmp_path, objects) as gateway:
            upstreams.members[0].behave = "503"
            async with aiohttp.ClientSession(base_url=gateway.url) as client:
                for _ in range(4):
                    asked = client.post(
                        f"{PREDICTIONS}?token=hidden", data=io.BytesIO(b"{}"), headers={"seldon-puid": "p-1"}
                    )
                    async with asked as reply:
                        assert reply.status == 200
                async with client.get("/nowhere") as reply:
                    assert reply.status == 404
            logs = [gateway.layout.access_log(index) for index in (0, 1)]
            await eventually(lambda: sum(log.read_text().count("\n") for log in logs) == 5, what="five lines")
            written = "".join(log.read_text() for log in logs)
    assert "hidden" not in written
    found = [json.loads(line) for line in run("yolo", "--json").output.splitlines()]
    assert len(found) == 4
    for item in found:
        known = {key: item[key] for key in ("namespace", "predictor", "version", "puid", "path", "model", "status")}
        assert known == {
            "namespace": "default", "predictor": "stable", "version": "stable", "puid": "p-1", "path": PREDICTIONS,
            "model": "yolo/3 sha256:0", "status": 200,
        }  # fmt: skip
        assert item["pod"] == "yolo-stable-1"  # the one that answers
    assert max(retries(item) for item in found) == 1
    assert [json.loads(line)["reason"] for line in run("--status", "404", "--json").output.splitlines()] == [
        "ROUTE_NOT_FOUND"
    ]


@pytest.mark.e2e
async def test_access_shows_clients_that_left_before_their_answer_and_in_the_middle_of_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    async with running_upstreams(stable=1) as upstreams:
        (member,) = upstreams.members
        objects = world([virtual_service({"stable": 0})], upstreams.predictors(), ports=upstreams.ports)
        async with (
            running_gateway(tmp_path, objects) as gateway,
            grpc.aio.insecure_channel(f"127.0.0.1:{gateway.site.port}") as channel,
        ):
            for count, member.behave in enumerate(("stall", "hold"), start=1):
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.site.port)
                writer.write(f"POST {PREDICTIONS} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
                await eventually(lambda: member.running == count, what="a request under way")  # noqa: B023  - awaited here
                if member.behave == "hold":
                    await reader.readuntil(b"\r\n\r\n")
                writer.close()
            call = pb_grpc.SeldonStub(channel).Predict(
                pb.SeldonMessage(), metadata=(("seldon", "yolo"), ("namespace", "default"))
            )
            await eventually(lambda: member.grpc_calls, what="a call under way")
            call.cancel()
            logs = [gateway.layout.access_log(index) for index in (0, 1)]
            await eventually(lambda: sum(log.read_text().count("\n") for log in logs) == 3, what="three lines")
    found = [json.loads(line) for line in run("yolo", "--reason", "CLIENT_CLOSED", "--json").output.splitlines()]
    assert [(item["protocol"], item["status"]) for item in found] == [
        ("HTTP/1.1", 499),
        ("HTTP/1.1", 200),
        ("HTTP/2", 499),
    ]
