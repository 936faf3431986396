"""A SeldonDeployment for tests: one REST and gRPC server that answers as it is told, and clients of both kinds for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from slipway.client import AsyncClient
from slipway.serving.messages import to_proto
from tests.executor.nodes import Node, Refusal, Reply, serving

BODY = {
    "detections": [
        {"label": "cat", "class_id": 1, "confidence": 0.5, "box": {"x_min": 1, "y_min": 2, "x_max": 5, "y_max": 10}}
    ],
    "image": {"width": 640, "height": 480},
    "model": {"name": "pets", "version": "3", "digest": ""},
}
MESSAGE = {"jsonData": BODY}
PATH = "/seldon/default/yolo"
PHOTO = b"\xff\xd8\xff..."


class Deployment:
    """``say`` sets the next answers, the last for ever: a message, or an error (HTTP status, gRPC Refusal)."""

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.node = Node("yolo", rest=self._rest, grpc=self._grpc)
        self._answers: list[Any] = [MESSAGE]

    @property
    def url(self) -> str:
        port = self.node.grpc_port if self.transport == "grpc" else self.node.http_port
        return f"http://127.0.0.1:{port}{PATH}"

    @property
    def calls(self) -> int:
        return len(self.node.grpc_seen if self.transport == "grpc" else self.node.seen)

    def say(self, *answers: Any) -> None:
        self._answers = list(answers)

    def client(self, **options: Any) -> AsyncClient:
        return AsyncClient(self.url, transport=self.transport, **options)  # type: ignore[typeddict-item]

    def headers(self) -> dict[str, str]:
        """Of the last request, names in lower case."""
        if self.transport == "grpc":
            return {key.lower(): str(value) for key, value in self.node.grpc_seen[-1][1].items()}
        return {key.lower(): value for key, value in self.node.seen[-1].headers.items()}

    def sent(self) -> Any:
        """The last request's body: bytes of a message, or of JSON."""
        return self.node.grpc_seen[-1][2] if self.transport == "grpc" else self.node.seen[-1].body

    def _next(self) -> Any:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    async def _rest(self, _: Any) -> Reply:
        answer = self._next()
        if isinstance(answer, Callable):
            answer = await answer()
        return answer if isinstance(answer, Reply) else Reply(json.dumps(answer).encode())

    async def _grpc(self, *_: Any) -> bytes:
        answer = self._next()
        if isinstance(answer, Callable):
            answer = await answer()
        if isinstance(answer, Refusal):
            raise answer
        return answer if isinstance(answer, bytes) else to_proto(answer).SerializeToString()


@asynccontextmanager
async def deployment(transport: str) -> AsyncIterator[Deployment]:
    """Listens until the block ends."""
    found = Deployment(transport)
    async with serving(found.node):
        yield found
