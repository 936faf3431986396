"""The asynchronous client, and the blocking one that calls it."""

from __future__ import annotations

import asyncio
import math
import os
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, Unpack

from slipway.client.address import Address, parse_address
from slipway.client.bridge import finish, run
from slipway.client.detections import Detections, parse_detections
from slipway.client.errors import InvalidAddress, InvalidMessage, InvalidPhoto, InvalidTls
from slipway.client.photo import Photo, encode_photo, is_photo
from slipway.client.reply import Reply
from slipway.client.retry import retried
from slipway.client.settings import AT_ONCE, MAX_AT_ONCE, Options, Settings, Tls
from slipway.contract.protos import prediction_pb2 as pb
from slipway.serving.errors import ServingError
from slipway.serving.messages import to_json

Message = Mapping[str, Any] | pb.SeldonMessage
STACKED = 4
"""Dimensions of an array that is several photos."""
_INHERITED: list[object] = []
"""Connections of the parent of a forked process, kept so that nothing here closes them: as many as clients were in use."""


class _Wire(Protocol):
    async def photo(self, photo: bytes, *, left_s: float) -> Reply: ...
    async def message(self, message: Mapping[str, Any], *, left_s: float) -> Reply: ...
    async def feedback(self, feedback: Mapping[str, Any], *, answered_by: str, left_s: float) -> Reply: ...
    async def close(self) -> None: ...


class AsyncClient:
    """Asks one SeldonDeployment at ``url``; keywords as in ``slipway.client.settings.Settings``.

    ``url`` is the gateway's ``http://HOST:PORT/seldon/NAMESPACE/NAME``, ``http://HOST:PORT`` of an executor or a
    component, or a route of somebody's own that leads to predictions. Use it as ``async with``, in one event loop.
    Every method raises the errors of ``slipway.client.errors``.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        self.address = parse_address(url)
        self.settings = Settings(**options)
        if self.settings.transport == "grpc" and self.address.feedback is None:
            raise InvalidAddress(
                f"{self.address.origin}{self.address.predictions} leads to predictions over REST: gRPC needs the gateway's "
                "/seldon/NAMESPACE/NAME, or the server itself"
            )
        if self.settings.tls != Tls() and not self.address.is_tls:
            raise InvalidTls(
                f"{self.address.origin}: the files of tls=… are for https://, over http:// all is readable"
            )
        self._wire: _Wire | None = None
        self._owner: tuple[int, asyncio.AbstractEventLoop | None] = 0, None

    async def detect(self, photo: Photo) -> Detections:
        """What is on a photo: a path, an encoded photo as bytes, or an array uint8 [H, W, 3] of RGB levels."""
        encoded = await asyncio.to_thread(encode_photo, photo)
        return parse_detections(await self._retried(lambda wire, left_s: wire.photo(encoded, left_s=left_s)))

    async def detect_many(self, photos: Iterable[Photo], *, at_once: int = AT_ONCE) -> list[Detections]:
        """What is on each photo, in their order, ``at_once`` (1 to 64) of them under way together.

        The first error ends the rest and is raised. ``photos`` is read as places become free.
        """
        if not 1 <= at_once <= MAX_AT_ONCE:
            raise ValueError(f"at_once={at_once!r} is not within 1..{MAX_AT_ONCE}")
        if is_photo(photos) and getattr(photos, "ndim", 0) != STACKED:
            raise InvalidPhoto("detect_many takes several photos, such as a list of them; detect takes one")
        waiting = enumerate(photos)
        found: dict[int, Detections] = {}

        async def work() -> None:
            for place, photo in waiting:
                found[place] = await self.detect(photo)

        workers = [asyncio.create_task(work()) for _ in range(at_once)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [found[place] for place in sorted(found)]

    async def predict(self, message: Message) -> Reply:
        """Any SeldonMessage, in its JSON form or as protobuf; the whole reply, whatever the graph answers."""
        form = _as_json(message)
        return await self._retried(lambda wire, left_s: wire.message(form, left_s=left_s))

    async def feedback(
        self,
        reward: float,
        *,
        reply: Reply | Detections | None = None,
        request: Message | None = None,
        truth: Message | None = None,
    ) -> Reply:
        """Tell the graph how good a reply was; ``reply`` leads it the way that the request took. Never sent twice.

        Across a canary that is the predictor that answered. Refused, 404 ``FEEDBACK_PREDICTOR_UNKNOWN``, where that is
        no more: counted with another one it would teach that what nobody said.
        """
        sent = feedback_message(reward, reply=reply, request=request, truth=truth)
        name = "" if reply is None else answered_by(reply)
        return await self._retried(
            lambda wire, left_s: wire.feedback(sent, answered_by=name, left_s=left_s), attempts=1
        )

    async def close(self) -> None:
        """Let go of the connections; a call afterwards makes new ones."""
        self._leave_inherited()
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _retried(self, send: Callable[[_Wire, float], Awaitable[Reply]], *, attempts: int | None = None) -> Reply:
        wire, settings = self._connected(), self.settings
        return await retried(
            lambda left_s: send(wire, left_s), attempts=attempts or settings.attempts, timeout_s=settings.timeout_s
        )

    def _connected(self) -> _Wire:
        """Connections belong to one event loop of one process."""
        loop = asyncio.get_running_loop()
        self._leave_inherited()
        if self._wire is None:
            self._wire, self._owner = _wire(self.address, self.settings), (os.getpid(), loop)
        elif self._owner[1] is not loop:
            raise RuntimeError(
                f"{self.address.origin}: this client has connections of another event loop: use one in each"
            )
        return self._wire

    def _leave_inherited(self) -> None:
        """After a fork the connections are the parent's: their answers are for it, and it is it that closes them."""
        if self._wire is not None and self._owner[0] != os.getpid():
            if self.settings.transport == "grpc":
                raise RuntimeError(f"{self.address.target}: gRPC does not outlive a fork: let a spawned process ask")
            _INHERITED.append(self._wire)
            self._wire = None


class Client:
    """``AsyncClient`` for blocking code: notebooks, scripts, threads. Use it as ``with``, or call ``close``.

    The same keywords and methods; one background thread runs the calls of every Client of this process.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        self._client = AsyncClient(url, **options)
        self._finalizer = weakref.finalize(self, finish, self._client.close)

    def detect(self, photo: Photo) -> Detections:
        """What is on a photo: a path, an encoded photo as bytes, or an array uint8 [H, W, 3] of RGB levels."""
        return run(self._client.detect(photo))

    def detect_many(self, photos: Iterable[Photo], *, at_once: int = AT_ONCE) -> list[Detections]:
        """What is on each photo, in their order, ``at_once`` (1 to 64) of them under way together."""
        return run(self._client.detect_many(photos, at_once=at_once))

    def predict(self, message: Message) -> Reply:
        """Any SeldonMessage, in its JSON form or as protobuf; the whole reply, whatever the graph answers."""
        return run(self._client.predict(message))

    def feedback(
        self,
        reward: float,
        *,
        reply: Reply | Detections | None = None,
        request: Message | None = None,
        truth: Message | None = None,
    ) -> Reply:
        """Tell the graph how good a reply was, as ``AsyncClient.feedback`` does."""
        return run(self._client.feedback(reward, reply=reply, request=request, truth=truth))

    def close(self) -> None:
        """Let go of the connections; a call afterwards makes new ones."""
        run(self._client.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def answered_by(reply: Reply | Detections) -> str:
    """The predictor that gave ``reply``; empty where no header said so, or said what no header of ours can say again."""
    name = reply.predictor
    return name if name.isascii() and name.isprintable() else ""


def feedback_message(
    reward: float, *, reply: Reply | Detections | None, request: Message | None, truth: Message | None
) -> dict[str, Any]:
    """The JSON form of a Feedback; the routing that a header told goes where routers look for it."""
    if not math.isfinite(reward):
        raise InvalidMessage(f"reward={reward}: a number that is finite is expected")
    message: dict[str, Any] = {"reward": float(reward)}
    for name, part in (("request", request), ("truth", truth)):
        if part is not None:
            message[name] = _as_json(part)
    if reply is not None:
        answer = reply.reply if isinstance(reply, Detections) else reply
        meta = {**(answer.message.get("meta") or {}), "routing": dict(answer.routing)}
        if answer.request_id:
            meta["puid"] = answer.request_id
        message["response"] = {**answer.message, "meta": meta}
    return message


def _as_json(message: Message) -> Mapping[str, Any]:
    try:
        return to_json(message) if isinstance(message, pb.SeldonMessage) else message
    except ServingError as exc:
        raise InvalidMessage(str(exc)) from exc


def _wire(address: Address, settings: Settings) -> _Wire:
    if settings.transport == "grpc":
        from slipway.client.grpc import GrpcTransport  # gRPC is loaded for those who use it

        return GrpcTransport(address, settings)
    from slipway.client.rest import RestTransport

    return RestTransport(address, settings)
