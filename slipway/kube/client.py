"""A thin asynchronous Kubernetes client: one method per verb, errors by reason, everything bounded."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp

from slipway.kube.answers import bounded, error_in, lines, parse, warnings_in
from slipway.kube.conduct import FREE, NO_ANSWER, REQUEST_TIMEOUT_S, Conduct
from slipway.kube.errors import Unauthorized, Unavailable, error_of
from slipway.kube.kinds import POD, Kind, kind_of
from slipway.kube.kubeconfig import Access, load_access

CONNECT_TIMEOUT_S = 5.0
WATCH_TIMEOUT_S = 300
"""Asked of the server: a watch ends after this and is begun again."""
WATCH_IDLE_S = 150.0
"""Servers send a bookmark about every minute: silence for longer is a dead connection."""
LIST_PAGE = 500
MAX_CONNECTIONS = 256
"""Per client; each watch holds one."""
LOG_CHUNK_BYTES = 64 * 1024
STREAMED_BYTES = 512 * 1024

PatchType = Literal["merge", "json", "strategic", "apply"]
PATCH_CONTENT_TYPES: Mapping[str, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
Propagation = Literal["Background", "Foreground", "Orphan"]
Object = dict[str, Any]


@dataclass(frozen=True)
class ObjectList:
    """One list: the objects, each with its ``apiVersion`` and ``kind``, and where a watch goes on from."""

    items: tuple[Object, ...]
    resource_version: str


@dataclass(frozen=True)
class WatchEvent:
    """``type`` is ADDED, MODIFIED, DELETED or BOOKMARK; an ERROR event is raised instead."""

    type: str
    object: Object


class Kube:
    """A connection pool to one API server. Use as ``async with Kube.from_kubeconfig() as kube``."""

    def __init__(self, access: Access, *, user_agent: str = "slipway", conduct: Conduct = FREE) -> None:
        self.access = access
        self._user_agent = user_agent
        self._conduct = conduct
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(
        cls,
        path: str | Path | None = None,
        context: str | None = None,
        *,
        user_agent: str = "slipway",
        conduct: Conduct = FREE,
    ) -> Self:
        """``user_agent`` names the writer in ``managedFields`` where a request gives no field manager."""
        return cls(load_access(path, context=context), user_agent=user_agent, conduct=conduct)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            base_url=self.access.server,
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            headers={"User-Agent": self._user_agent, "Accept": "application/json"},
            read_bufsize=LOG_CHUNK_BYTES,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self, kind: Kind, name: str, *, namespace: str | None = None, subresource: str | None = None
    ) -> Object:
        return await self.request("GET", kind.path(namespace=namespace, name=name, subresource=subresource))

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> ObjectList:
        """All objects, over all namespaces where none is given; read in pages."""
        query = _query(labelSelector=label_selector, fieldSelector=field_selector, limit=LIST_PAGE)
        items: list[Object] = []
        while True:
            page = await self.request("GET", kind.path(namespace=namespace), query=query)
            items += [{**item, "apiVersion": kind.api_version, "kind": kind.kind} for item in page.get("items") or ()]
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return ObjectList(tuple(items), str(meta.get("resourceVersion") or ""))
            query = {**query, "continue": meta["continue"]}

    async def create(
        self,
        obj: Mapping[str, Any],
        *,
        kind: Kind | None = None,
        namespace: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Raises AlreadyExists, Invalid, NotFound (the namespace)."""
        target = kind or kind_of(obj)
        path = target.path(namespace=_namespace(target, obj, namespace, self.access.namespace))
        query = _query(fieldManager=field_manager, dryRun="All" if dry_run else None)
        return await self.request("POST", path, body=obj, query=query)

    async def replace(
        self,
        obj: Mapping[str, Any],
        *,
        kind: Kind | None = None,
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
    ) -> Object:
        """Write the whole object; Conflict where its ``resourceVersion`` is not the current one."""
        target = kind or kind_of(obj)
        path = target.path(
            namespace=_namespace(target, obj, namespace, self.access.namespace),
            name=obj["metadata"]["name"],
            subresource=subresource,
        )
        return await self.request("PUT", path, body=obj, query=_query(fieldManager=field_manager))

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        type: PatchType,  # noqa: A002  - the API's own word
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        """``force`` belongs to ``type="apply"`` only: take over fields that another manager owns."""
        return await self.request(
            "PATCH",
            kind.path(namespace=namespace, name=name, subresource=subresource),
            body=body,
            query=_query(
                fieldManager=field_manager, force="true" if force else None, dryRun="All" if dry_run else None
            ),
            headers={"Content-Type": PATCH_CONTENT_TYPES[type]},
        )

    async def apply(
        self,
        obj: Mapping[str, Any],
        *,
        field_manager: str,
        kind: Kind | None = None,
        namespace: str | None = None,
        force: bool = True,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Server-side apply of a whole object: creates it, or changes what ``field_manager`` owns."""
        target = kind or kind_of(obj)
        return await self.patch(
            target,
            obj["metadata"]["name"],
            obj,
            type="apply",
            namespace=_namespace(target, obj, namespace, self.access.namespace),
            subresource=subresource,
            field_manager=field_manager,
            force=force,
            dry_run=dry_run,
        )

    async def delete(
        self,
        kind: Kind,
        name: str,
        *,
        namespace: str | None = None,
        propagation: Propagation | None = None,
        grace_period_s: int | None = None,
        uid: str | None = None,
    ) -> Object:
        """The Status, or the object where it lives on for a while; with ``uid``, Conflict if it is another one."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        if uid:
            options["preconditions"] = {"uid": uid}
        return await self.request("DELETE", kind.path(namespace=namespace, name=name), body=options)

    async def watch(
        self,
        kind: Kind,
        *,
        resource_version: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        timeout_s: int = WATCH_TIMEOUT_S,
    ) -> AsyncIterator[WatchEvent]:
        """Events after ``resource_version`` until the server ends the stream. Raises Expired, Unavailable, ApiError."""
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            timeoutSeconds=timeout_s,
        )
        async with self._response("GET", kind.path(namespace=namespace), query=query, idle_s=WATCH_IDLE_S) as response:
            async for line in lines(response):
                event = parse(line)
                if event.get("type") == "ERROR":
                    raise error_of(event.get("object") or {})
                yield WatchEvent(str(event["type"]), event["object"])

    async def logs(
        self,
        name: str,
        *,
        namespace: str,
        container: str | None = None,
        follow: bool = False,
        previous: bool = False,
        timestamps: bool = False,
        tail_lines: int | None = None,
        since_s: int | None = None,
    ) -> AsyncIterator[bytes]:
        """A Pod's log in chunks; with ``follow`` until the container ends or the caller stops reading."""
        query = _query(
            container=container,
            follow="true" if follow else None,
            previous="true" if previous else None,
            timestamps="true" if timestamps else None,
            tailLines=tail_lines,
            sinceSeconds=since_s,
        )
        idle_s = None if follow else REQUEST_TIMEOUT_S
        path = POD.path(namespace=namespace, name=name, subresource="log")
        async with self._response("GET", path, query=query, idle_s=idle_s) as response:
            async for chunk in response.content.iter_chunked(LOG_CHUNK_BYTES):
                yield chunk

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        """One JSON exchange with any path of the API (discovery, Tables): the decoded answer."""
        limit_s = self._conduct.timeout_s
        async with self._response(method, path, body=body, query=query, headers=headers, limit_s=limit_s) as response:
            return parse(await bounded(response))

    async def download(self, path: str, *, idle_s: float = REQUEST_TIMEOUT_S) -> AsyncIterator[bytes]:
        """Any path of the API in chunks; it may take as long as it likes, but may not be silent for ``idle_s``."""
        async with self._response("GET", path, headers={"Accept": "*/*"}, idle_s=idle_s) as response:
            async for chunk in response.content.iter_chunked(LOG_CHUNK_BYTES):
                yield chunk

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        limit_s: float | None = None,
        idle_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """``limit_s``: until the context is left; not for one that yields inside of it. ``idle_s``: how long nothing may come."""
        if self._session is None:
            raise RuntimeError("Kube is used outside of `async with`")
        await self._conduct.admit(method, is_watch="watch" in (query or ()))
        issued = await self.access.issued()
        code = NO_ANSWER
        # Not aiohttp's `total`: where it comes together with a cancellation, the cancellation is lost.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=idle_s)
        try:
            async with (
                asyncio.timeout(limit_s),
                self._session.request(
                    method,
                    path,
                    params=query,
                    data=_payload(body),
                    headers=[
                        *{"Content-Type": "application/json", **(headers or {})}.items(),
                        *self.access.headers(issued),
                    ],
                    server_hostname=self.access.server_name,
                    ssl=self.access.ssl_context(issued) or True,
                    proxy=self.access.proxy_url,
                    timeout=timeout,
                ) as response,
            ):
                code = str(response.status)
                self._conduct.heard(method, code)
                self._conduct.warned(warnings_in(response))
                if response.status >= 400:
                    raise await error_in(response)
                yield response
        except (TimeoutError, aiohttp.ClientError, ConnectionError) as exc:
            if code == NO_ANSWER:
                self._conduct.heard(method, code)
            raise Unavailable(f"{method} {self.access.server}{path}: {_why(exc)}") from exc
        except Unauthorized:
            self.access.renew()
            raise


def _why(error: Exception) -> str:
    """In one line: of a connection that there is not, aiohttp's own text shows its TLS settings as an object."""
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        return f"no connection to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    return str(error) or type(error).__name__


def _namespace(kind: Kind, obj: Mapping[str, Any], given: str | None, default: str) -> str | None:
    if not kind.namespaced:
        return None
    return given or (obj.get("metadata") or {}).get("namespace") or default


def _payload(body: object) -> bytes | io.BytesIO | None:
    """Aiohttp wants large bodies as a stream, so that sending them gives way to others."""
    if body is None:
        return None
    data = json.dumps(body).encode()
    return io.BytesIO(data) if len(data) > STREAMED_BYTES else data


def _query(**values: str | int | None) -> dict[str, str]:
    return {key: str(value) for key, value in values.items() if value is not None}
