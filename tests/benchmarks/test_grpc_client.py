"""The cheap gRPC client against gRPC's own server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from benchmarks.grpc_client import GrpcConnection, GrpcError

LARGE = bytes(range(256)) * 4096
"""1 MiB: many times what a connection may send before the server has said that it takes more."""


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != "/test.Echo/Say":
            return None
        return grpc.unary_unary_rpc_method_handler(lambda message, _context: message)


@pytest.fixture
def connection() -> Iterator[GrpcConnection]:
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    connection = GrpcConnection(port)
    yield connection
    connection.close()
    server.stop(None).wait()


def test_messages_small_and_large_come_back_whole(connection: GrpcConnection) -> None:
    for message in (b"", b"small", LARGE, b"small again", LARGE, LARGE):
        assert connection.call("/test.Echo/Say", message) == message


def test_an_answer_without_a_message_is_an_error(connection: GrpcConnection) -> None:
    with pytest.raises(GrpcError, match="no message"):
        connection.call("/test.Echo/Sing", b"small")
    assert connection.call("/test.Echo/Say", b"still there") == b"still there"
