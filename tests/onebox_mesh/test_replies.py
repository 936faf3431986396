"""What the gateway answers itself: to requests that are no HTTP, to calls that lead nowhere, for servers that speak none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import pytest

from slipway.contract.errors import executor_error
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as pb_grpc
from slipway.controller import traffic
from slipway.onebox.mesh import replies
from slipway.onebox.mesh.limits import MAX_HEADERS, MAX_HEADERS_KIB
from slipway.onebox.mesh.translate import Object, Site, translate
from tests.onebox_mesh.envoys import Gateway, running_gateway
from tests.onebox_mesh.upstreams import loopback_address
from tests.onebox_mesh.world import GATEWAY, destination, item, virtual_service, world
from tests.ports import free_port

PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
ANSWER_S = 10.0
SITE = Site("127.0.0.1", 8080, "/page.html")
MALFORMED = (400, "MALFORMED_REQUEST")
BROKEN = {
    b"\x00\x01 garbage\r\n\r\n": MALFORMED,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": MALFORMED,  # the beginning of TLS
    b"GET\r\n\r\n": MALFORMED,
    b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n": MALFORMED,
    b"GET / HTTP/1.1\r\n\r\n": MALFORMED,
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n": MALFORMED,
    b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n": MALFORMED,
    b"GET / HTTP/1.1\r\nHost: a\r\nno name: x\r\n\r\n": MALFORMED,
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n": MALFORMED,
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": MALFORMED,
    b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" % PREDICTIONS.encode(): MALFORMED,
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n": (501, "TRANSFER_ENCODING_NOT_SUPPORTED"),
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n": (404, "ROUTE_NOT_FOUND"),
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n": (426, "HTTP_VERSION_NOT_SUPPORTED"),
    b"GET / HTTP/1.1\r\nHost: a\r\nx: %b\r\n\r\n" % (b"a" * 1024 * MAX_HEADERS_KIB): (431, "HEADERS_TOO_LARGE"),
    b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"x: 1\r\n" * MAX_HEADERS): (431, "HEADERS_TOO_LARGE"),
    b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 1024 * MAX_HEADERS_KIB): (431, "HEADERS_TOO_LARGE"),
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n": (403, "UPGRADE_REFUSED"),
}


def test_paths_of_grpc_are_those_that_the_controller_routes():
    assert replies.GRPC_METHODS == traffic.GRPC_METHODS


@asynccontextmanager
async def _answering(tmp_path, answer: bytes, astray: Sequence[Object] = ()) -> AsyncIterator[Gateway]:
    """A gateway before a server that answers every request with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    address, ports = loopback_address(), {"http": free_port(), "grpc": free_port()}
    async with await asyncio.start_server(serve, address, ports["http"]):
        routes = [virtual_service({"stable": 0}), *astray]
        objects = world(routes, {"stable": {address: True}}, ports=ports)
        async with running_gateway(tmp_path, objects) as gateway:
            yield gateway


async def _ask(gateway: Gateway, request: bytes) -> tuple[int, str | None, str | None, bytes]:
    """Status, reason, type and body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.site.port)
    writer.write(request)
    async with asyncio.timeout(ANSWER_S):
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    reason = headers.get("x-slipway-reason")
    return int(first.split()[1]), reason and reason.upper(), headers.get("content-type"), body


@pytest.mark.e2e
async def test_what_is_no_http_is_answered_as_every_other_error(tmp_path):
    async with _answering(tmp_path, b"\x00\x01\r\n\r\n") as gateway:
        asked = [(request, *await _ask(gateway, request)) for request in BROKEN]
        post = f"POST {PREDICTIONS} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()
        asked.append((post, *await _ask(gateway, post)))
    expected = {**BROKEN, post: (502, "UPSTREAM_PROTOCOL_ERROR")}
    assert {request: (status, reason) for request, status, reason, _, _ in asked} == expected
    for _, status, reason, content_type, body in asked:
        said = json.loads(body)
        assert (content_type, said) == ("application/json", executor_error(status, said["status"]["info"], reason))


@pytest.mark.e2e
async def test_a_grpc_call_that_leads_nowhere_is_told_what_it_asked_for(tmp_path):
    async with (
        _answering(tmp_path, b"") as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.site.port}") as channel,
    ):

        async def ask(call, *metadata):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(pb.SeldonMessage(), metadata=metadata, timeout=ANSWER_S)
            error = raised.value
            return error.code(), dict(error.trailing_metadata()).get("x-slipway-reason"), error.details()

        stub = pb_grpc.SeldonStub(channel)
        assert await ask(stub.Predict, ("seldon", "nobody"), ("namespace", "user-ada")) == (
            grpc.StatusCode.NOT_FOUND,
            "ROUTE_NOT_FOUND",
            (
                "no SeldonDeployment 'nobody' in namespace 'user-ada' is served here: "
                "the metadata `seldon` and `namespace` say which is meant"
            ),
        )
        code, _, details = await ask(stub.Predict)
        assert (code, details.partition(" is served")[0]) == (
            grpc.StatusCode.NOT_FOUND,
            "no SeldonDeployment '-' in namespace '-'",
        )
        odd = channel.unary_unary(
            "/odd.Service/Method", pb.SeldonMessage.SerializeToString, pb.SeldonMessage.FromString
        )
        code, reason, _ = await ask(odd, ("seldon", "yolo"), ("namespace", "default"))
        assert (code, reason) == (grpc.StatusCode.UNIMPLEMENTED, "ROUTE_NOT_FOUND")
        # HTTP/2 that Envoy does not read has no answer: its stream is reset, or its connection.
        large = ("x", "a" * 1024 * MAX_HEADERS_KIB)
        for unread in ([(f"x-{number}", "1") for number in range(MAX_HEADERS)], [large], [large, large]):
            code, reason, _ = await ask(stub.Predict, *unread)
            assert (code in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}, reason) == (True, None)


STABLE = "yolo-stable.default.svc.cluster.local"
ASTRAY = {
    "nobody": ({"host": "nobody"}, "there is no Service 'nobody'"),
    "port": (
        {"host": STABLE, "port": {"number": 7}},
        f"Service {STABLE!r} has no port 7; it has: 8000 (http), 5001 (grpc)",
    ),
    "any-port": (
        {"host": STABLE},
        f"Service {STABLE!r} has several ports, and `port.number` says none of them; it has: 8000 (http), 5001 (grpc)",
    ),
    "subset": (
        {**destination("stable", 8000), "subset": "old"},
        f"no DestinationRule of {STABLE} has a subset 'old'",
    ),
}


def _routes(name: str, *destinations: tuple[Object, int]) -> Object:
    routes = [{"destination": one, "weight": weight} for one, weight in destinations]
    route = {"match": [{"uri": {"prefix": f"/{name}"}}], "route": routes}
    return item("VirtualService", name, {"hosts": ["*"], "gateways": [GATEWAY], "http": [route]})


@pytest.mark.e2e
async def test_a_route_to_what_is_not_there_says_what_that_is(tmp_path):
    known = destination("stable", 8000)
    routes = [_routes(name, (one, 1)) for name, (one, _) in ASTRAY.items()]
    routes.append(_routes("half", ({"host": "nobody"}, 90), (known, 10)))
    routes.append(_routes("zero", ({"host": "nobody"}, 100), (known, 0)))
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    async with _answering(tmp_path, answer, routes) as gateway:

        async def ask(name: str) -> tuple[int, str | None, str]:
            status, reason, _, body = await _ask(gateway, f"GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return status, reason, json.loads(body)["status"]["info"] if body else ""

        for name, (_, sentence) in {**ASTRAY, "zero": ASTRAY["nobody"]}.items():
            assert await ask(name) == (503, "DESTINATION_NOT_FOUND", sentence)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.site.port}") as channel:
            call = channel.unary_unary("/nobody/Predict", pb.SeldonMessage.SerializeToString)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(pb.SeldonMessage(), timeout=ANSWER_S)
        assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.UNAVAILABLE, ASTRAY["nobody"][1])
        assert await ask("half") == (200, None, "")


def test_a_route_of_which_one_destination_is_there_waits_for_that_one():
    unready = {"stable": {"127.20.0.1": False}}
    mesh = translate(
        world([_routes("half", ({"host": "nobody"}, 90), (destination("stable", 8000), 10))], unready), SITE
    )
    (route,) = (route for host in mesh.virtual_hosts for route in host.routes if route.name.startswith("default/"))
    assert (route.destinations, route.absent) == ((), "")
