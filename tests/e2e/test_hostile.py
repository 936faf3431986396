"""More than a thousand hostile uploads through the gateway: refused one by one, and nothing of the platform is harmed."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import aiohttp
import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_wrappers.intake.pool import DECODE_TIMEOUT_S
from scripts.demo import photo
from slipway.contract.limits import MAX_BODY_BYTES
from slipway.onebox.supervisor.procfs import descendants, pss_bytes
from tests.e2e.hostile import uploads
from tests.e2e.hostile_kinds import BOUNDARY, FORM, PROTOBUF, Outcome, Upload
from tests.e2e.hostile_photos import MAGICS
from tests.e2e.hostile_requests import raw_requests
from tests.e2e.platform import Platform
from tests.e2e.test_wire_forms import PHOTO, assert_prediction, post
from tests.waiting import wait_until

SEED = 20261121
AT_ONCE = 4
LIMIT_S = DECODE_TIMEOUT_S + 2.0  # the promise is the decode limit; the rest is for a machine that does other things
GIVE_UP_S = 30.0
RAW_WAIT_S = 1.0
SLOW_CLIENTS = 40
MEMORY_BOUND_BYTES = 256 * 2**20  # above idle, all Pods of `yolo` together: what allocators keep for the next request
LOG_BOUND_BYTES = 4 * 2**20
RIGHT_5XX = {"identity": b"501"}  # RFC 9112 section 6.1: a transfer coding that is not understood
PATH = "/seldon/default/yolo/api/v1.0/predictions"
PREDICT = "/seldon.protos.Seldon/Predict"
GRPC_METADATA = (("seldon", "yolo"), ("namespace", "default"))
CLIENT_ERRORS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}


@dataclass(frozen=True)
class Answer:
    """``status`` 0 where the connection was closed instead."""

    upload: Upload
    status: int
    reason: str
    text: str
    seconds: float

    def problem(self) -> str:
        """What is wrong with the answer; empty for a good one."""
        said = f"{self.upload.name}: {self.status} {self.reason} after {self.seconds:.2f} s: {self.text[:200]}"
        if self.seconds > LIMIT_S:
            return f"slow: {said}"
        if self.status == 200:
            return "" if self.upload.outcome is not Outcome.REFUSED and self._has_boxes() else f"accepted: {said}"
        if self.upload.outcome is Outcome.BOXES:
            return f"valid, but refused: {said}"
        if self.status == 0:
            return "" if len(self.upload.body) > MAX_BODY_BYTES else f"closed: {said}"
        return "" if 400 <= self.status < 500 and self._has_code() else f"no clean refusal: {said}"

    def _has_boxes(self) -> bool:
        body = json.loads(self.text)
        if self.upload.outcome is Outcome.BOXES:
            assert_prediction(body)
        answer = body["jsonData"]
        return isinstance(answer["detections"], list) and answer["image"]["width"] > 0

    def _has_code(self) -> bool:
        try:
            status = json.loads(self.text)["status"]
        except ValueError:
            return False
        return status["reason"] == self.reason and self.reason.isupper() and len(status["info"]) > 10


@dataclass(frozen=True)
class Containers:
    """Container → (restarts, pid of its main process)."""

    found: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, platform: Platform) -> Containers:
        found = {}
        for pod in platform.pods(selector="seldon-deployment-id=yolo"):
            for status in pod["status"]["containerStatuses"]:
                pid = int(status["containerID"].removeprefix("process://"))
                found[f"{pod['metadata']['name']}/{status['name']}"] = (status["restartCount"], pid)
        return cls(found)

    def pss_bytes(self) -> int:
        return sum(pss_bytes(pid) for _, main in self.found.values() for pid in descendants(main))


@pytest.fixture(scope="module")
def idle(platform: Platform) -> tuple[Containers, int]:
    """The containers before anything hostile, and their memory after a few photos."""
    for _ in range(40):
        assert post(platform, photo(PHOTO), "image/jpeg")[0] == 200
    containers = Containers.of(platform)
    assert len(containers.found) == 6
    return containers, containers.pss_bytes()


@pytest.fixture(autouse=True)
def unharmed(platform: Platform, idle: tuple[Containers, int]) -> Iterator[None]:
    """Behind every test: the same processes, no restarts, the same boxes, memory and logs within their bounds."""
    logs = log_bytes(platform)
    yield
    containers, idle_bytes = idle
    assert Containers.of(platform) == containers
    for _ in range(8):
        status, body, _ = post(platform, photo(PHOTO), "image/jpeg")
        assert status == 200
        assert_prediction(body)
    wait_until(
        lambda: containers.pss_bytes() < idle_bytes + MEMORY_BOUND_BYTES, timeout_s=10, what="memory back to idle"
    )
    assert log_bytes(platform) - logs < LOG_BOUND_BYTES


def log_bytes(platform: Platform) -> int:
    files = [*platform.home.glob("logs/*.log"), *platform.home.glob("pods/**/*.log")]
    return sum(path.stat().st_size for path in files if not path.name.startswith("access"))


async def send_all(platform: Platform, bodies: Sequence[Upload], *, at_once: int) -> list[Answer]:
    limit = asyncio.Semaphore(at_once)
    timeout = aiohttp.ClientTimeout(total=GIVE_UP_S)
    async with aiohttp.ClientSession(f"http://{platform.gateway}", timeout=timeout) as session:
        return await asyncio.gather(*(send(session, upload, limit) for upload in bodies))


async def send(session: aiohttp.ClientSession, upload: Upload, limit: asyncio.Semaphore) -> Answer:
    async with limit:
        started = time.monotonic()
        try:
            headers = {"Content-Type": upload.content_type, **upload.headers}
            async with session.post(PATH, data=io.BytesIO(upload.body), headers=headers) as answer:
                text = (await answer.read()).decode(errors="replace")
                reason = answer.headers.get("x-slipway-reason", "")
                return Answer(upload, answer.status, reason, text, time.monotonic() - started)
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            return Answer(upload, 0, type(exc).__name__, str(exc), time.monotonic() - started)


@pytest.fixture(scope="module")
def hostile() -> list[Upload]:
    return uploads(photo(PHOTO), seed=SEED)


def test_there_are_more_than_a_thousand(hostile: list[Upload]) -> None:
    assert len({upload.name for upload in hostile}) == len(hostile) > 1000


async def test_hostile_uploads_are_refused(platform: Platform, hostile: list[Upload]) -> None:
    light = [upload for upload in hostile if not upload.is_heavy]
    answers = await send_all(platform, light, at_once=AT_ONCE)
    assert [problem for answer in answers if (problem := answer.problem())] == []


async def test_bombs_are_refused_or_decoded_in_time(platform: Platform, hostile: list[Upload]) -> None:
    heavy = [upload for upload in hostile if upload.is_heavy]
    answers = await send_all(platform, heavy, at_once=1)
    assert [problem for answer in answers if (problem := answer.problem())] == []
    slow = next(answer for answer in answers if "thousands of scans" in answer.upload.name)
    assert (slow.status, slow.reason) == (400, "IMAGE_TOO_SLOW")


async def test_hostile_messages_over_grpc_are_refused(platform: Platform, hostile: list[Upload]) -> None:
    limit = asyncio.Semaphore(AT_ONCE)
    options = [("grpc.max_send_message_length", 2 * MAX_BODY_BYTES)]
    async with grpc.aio.insecure_channel(platform.gateway, options=options) as channel:
        call = channel.unary_unary(PREDICT)

        async def problem(upload: Upload) -> str:
            async with limit:
                started = time.monotonic()
                try:
                    await call(upload.body, metadata=GRPC_METADATA, timeout=GIVE_UP_S)
                    said, is_good = "answered", upload.outcome is not Outcome.REFUSED
                except grpc.aio.AioRpcError as error:
                    trailing = dict(error.trailing_metadata() or ())
                    said = f"{error.code()} {error.details()} {trailing}"
                    is_good = error.code() in CLIENT_ERRORS and upload.outcome is not Outcome.BOXES
                    is_good = is_good and bool(error.details()) and "x-slipway-reason" in trailing
                took = time.monotonic() - started
                return "" if is_good and took < LIMIT_S else f"{upload.name} after {took:.2f} s: {said[:300]}"

        bodies = [upload for upload in hostile if upload.content_type == PROTOBUF]
        problems = await asyncio.gather(*(problem(upload) for upload in bodies))
        assert len(bodies) > 60
    assert [one for one in problems if one] == []


def test_nonsense_on_the_gateways_port_is_answered_or_closed(platform: Platform) -> None:
    problems = []
    for name, sent in raw_requests(photo(PHOTO), seed=SEED).items():
        got = exchange(platform, sent)
        statuses = [line[9:12] for line in got.splitlines() if line.startswith(b"HTTP/1.1 ")]
        if any(status.startswith(b"5") and status != RIGHT_5XX.get(name) for status in statuses):
            problems.append(f"{name}: {got[:200]!r}")
    assert problems == []


def exchange(platform: Platform, sent: bytes) -> bytes:
    """What comes back until the gateway closes, or says nothing for RAW_WAIT_S."""
    host, _, port = platform.gateway.partition(":")
    got = b""
    connection = socket.create_connection((host, int(port)), timeout=RAW_WAIT_S)
    with connection, contextlib.suppress(OSError):  # closed or silent: both are answers here
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            got += data
    return got


def test_clients_that_stop_half_way_hold_nobody_up(platform: Platform) -> None:
    host, _, port = platform.gateway.partition(":")
    body = photo(PHOTO)
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"
    starts = (
        f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:200],
        f"{head}Transfer-Encoding: chunked\r\n\r\nff\r\n".encode() + body[:200],
        head.encode()[:-5],
        f"{head}Content-Length: {MAX_BODY_BYTES}\r\n\r\n".encode(),
    )
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=5)) for _ in range(SLOW_CLIENTS)
        ]
        for number, client in enumerate(clients):
            client.sendall(starts[number % len(starts)])
        for _ in range(10):
            started = time.monotonic()
            assert post(platform, body, "image/jpeg")[0] == 200
            assert time.monotonic() - started < LIMIT_S


def test_body_that_dribbles_in_is_served(platform: Platform) -> None:
    host, _, port = platform.gateway.partition(":")
    body = photo(PHOTO)
    connection = http.client.HTTPConnection(host, int(port), timeout=GIVE_UP_S)
    with contextlib.closing(connection):
        pieces = (body[at : at + 7] for at in range(0, len(body), 7))
        connection.request("POST", PATH, pieces, {"Content-Type": "image/jpeg"}, encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == 200
        assert_prediction(json.loads(answer.read()))


HEADER_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)
CONTENT_TYPES = st.sampled_from(
    ("image/jpeg", "application/json", "application/x-protobuf", FORM, "application/x-www-form-urlencoded")
) | HEADER_TEXT.map("multipart/form-data; boundary={}".format)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("data", "ndarray", "tensor", "shape", "values", "tftensor", "strData", "jsonData", "binData", "meta", "tags")
MESSAGES = st.dictionaries(
    st.sampled_from(FIELDS), st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES, max_size=3) | JSON_VALUES, max_size=3
).map(lambda value: json.dumps(value).encode())
PARTS = st.tuples(st.binary(max_size=80), st.binary(max_size=80)).map(
    lambda pair: f"--{BOUNDARY}\r\n".encode() + pair[0] + b"\r\n\r\n" + pair[1] + f"\r\n--{BOUNDARY}--\r\n".encode()
)
PHOTOS = st.tuples(st.sampled_from(MAGICS), st.binary(max_size=400)).map(b"".join)


@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content_type=CONTENT_TYPES, body=MESSAGES | PARTS | PHOTOS | st.binary(max_size=400))
def test_any_body_is_refused_or_a_photo(platform: Platform, content_type: str, body: bytes) -> None:
    started = time.monotonic()
    status, answer, headers = post(platform, body, content_type)
    seconds = time.monotonic() - started
    upload = Upload("made up", body, content_type, Outcome.EITHER)
    reason = headers.get("x-slipway-reason", "")
    assert Answer(upload, status, reason, json.dumps(answer), seconds).problem() == ""
