"""The least that a photo's path can cost with its processes as they are: relays that check nothing.

    python -m benchmarks.bare executor PREDICTOR_FILE PORT      # two nodes in a chain
    python -m benchmarks.bare component CLASS PORT              # its parameters as the microservice reads them

They read just enough of HTTP to find where a body ends, and of a SeldonMessage to find its ``binData``: no limits, no errors, no
headers, metrics, or traces. ``benchmarks/path.py --bare`` puts them in the places of executor and microservices; what the real
ones take beyond them is what those do, the rest are wake-ups of processes, copies and the two Envoys. Never serve with them.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import uvloop

from benchmarks.processes import HOST
from slipway.serving.messages import varint

BIN_DATA = b"\x22"
"""Of a SeldonMessage: field 4, with a length."""
LENGTH = b"content-length: "
NODE_CONNECTIONS = 4

Answer = Callable[[list[bytes]], None]


class Message(asyncio.Protocol):
    """One message after another on a connection; ``take`` gets the pieces of a body, ``ping`` a message without one."""

    transport: asyncio.Transport

    def __init__(self, take: Callable[[Message, list[bytes]], None], ping: bytes = b"") -> None:
        self._take, self._ping = take, ping
        self._left = 0
        self._pieces: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._left:
            head, _, data = data.partition(b"\r\n\r\n")
            if head.startswith(b"GET "):
                self.transport.write(self._ping)
                return
            lower = head.lower() + b"\r"
            begin = lower.index(LENGTH) + len(LENGTH)
            self._left, self._pieces = int(lower[begin : lower.index(b"\r", begin)]), []
        self._pieces.append(data)
        self._left -= len(data)
        if not self._left:
            self._take(self, self._pieces)


def answer(to: Message, content_type: bytes, pieces: Sequence[bytes], head: bytes = b"") -> None:
    """Status 200."""
    length = sum(map(len, pieces))
    start = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n" % (content_type, length, head)
    to.transport.write(start + pieces[0])
    for piece in pieces[1:]:
        to.transport.write(piece)


def ask(node: Message, path: bytes, pieces: Sequence[bytes]) -> None:
    length = sum(map(len, pieces))
    start = b"POST %b HTTP/1.1\r\nHost: node\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n"
    node.transport.write(start % (path, length) + pieces[0])
    for piece in pieces[1:]:
        node.transport.write(piece)


def tagged(length: int) -> bytes:
    """The beginning of a SeldonMessage whose ``binData`` has that many bytes."""
    return BIN_DATA + varint(length)


async def executor(node: dict[str, Any] | None, port: int) -> None:
    """A photo to the first node, its answer to the second, that one's answer to the client; ``node`` is the first."""
    paths = (b"/transform-input", b"/predict")
    loop = asyncio.get_running_loop()
    answers: dict[Message, Answer] = {}
    ends = []
    while node:
        name, end = node["name"], node["endpoint"]["httpPort"]
        made = [
            loop.create_connection(lambda: Message(lambda on, pieces: answers.pop(on)(pieces)), HOST, end)
            for _ in range(NODE_CONNECTIONS)
        ]
        ends.append((name, [protocol for _, protocol in await asyncio.gather(*made)]))
        node = next(iter(node["children"]), None)

    def call(place: int, client: Message, pieces: list[bytes], timing: str) -> None:
        name, idle = ends[place]
        node, begun = idle.pop(), time.perf_counter()

        def answered(found: list[bytes]) -> None:
            idle.append(node)
            told = f"{timing}{name};dur={(time.perf_counter() - begun) * 1000:.3f}"
            if place + 1 < len(ends):
                call(place + 1, client, found, f"{told}, ")
            else:
                answer(client, b"application/json", found, b"Server-Timing: %b\r\n" % told.encode())

        answers[node] = answered
        ask(node, paths[place], pieces)

    def predict(client: Message, pieces: list[bytes]) -> None:
        call(0, client, [tagged(sum(map(len, pieces))), *pieces], "")

    await serve(predict, port)


async def component(name: str, port: int) -> None:
    """The class' hook on the bytes of ``binData``, in the event loop."""
    module, _, kind = name.rpartition(".")
    parameters = {one["name"]: one["value"] for one in json.loads(os.environ["PREDICTIVE_UNIT_PARAMETERS"])}
    instance = getattr(importlib.import_module(module), kind)(**parameters)
    instance.load()
    hook: Callable[[Any, list[str]], Any] = getattr(instance, "transform_input", None) or instance.predict

    def take(client: Message, pieces: list[bytes]) -> None:
        body = b"".join(pieces)
        place = 1
        while body[place] > 0x7F:
            place += 1
        found = hook(body[place + 1 :], [])
        if isinstance(found, bytes):
            answer(client, b"application/x-protobuf", [tagged(len(found)), found])
        else:
            answer(client, b"application/json", [json.dumps({"meta": {}, "jsonData": found}).encode()])

    await serve(take, port)


async def serve(take: Callable[[Message, list[bytes]], None], port: int) -> None:
    ping = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    server = await asyncio.get_running_loop().create_server(lambda: Message(take, ping), HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    what, subject, on = sys.argv[1:]
    if what == "executor":
        uvloop.run(executor(json.loads(Path(subject).read_text())["graph"], int(on)))
    else:
        uvloop.run(component(subject, int(on)))
