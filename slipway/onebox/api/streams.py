"""Watch and log streams over HTTP."""

from __future__ import annotations

import asyncio
import base64
import random
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from slipway.onebox.api.answers import send
from slipway.onebox.api.auth import User
from slipway.onebox.api.columns import get
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.history import Write
from slipway.onebox.api.listing import check_match, selection
from slipway.onebox.api.logs import chosen_container, log_file, parse_log_options, read_log
from slipway.onebox.api.objects import Objects
from slipway.onebox.api.presentation import Form, encode, partial, table
from slipway.onebox.api.target import Object, Target, parse_int, parse_version
from slipway.onebox.api.watching import Event, WatchHub, events, initial
from slipway.onebox.paths import Paths

WATCH_S = (1800, 3600)
"""How long a watch without ``timeoutSeconds`` lasts, drawn at random so that clients do not return together."""
MAX_WATCH_S = 3600
HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-cache, private"}


class EventWriter:
    """Events → lines in the asked form. Only the first Table of a stream has the columns."""

    def __init__(self, objects: Objects, target: Target, form: Form) -> None:
        self._objects = objects
        self._target = target
        self._form = form
        self._with_columns = True

    def line(self, event: Event) -> bytes:
        obj = self._objects.shown(self._target, event.obj)
        return encode({"type": event.type, "object": self._shaped(obj)})

    def _shaped(self, obj: Object) -> Object:
        if self._form.shape == "Table":
            meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            include, with_columns = self._form.include, self._with_columns
            self._with_columns = False
            return table(self._target, [obj], meta=meta, include=include, with_columns=with_columns)
        return partial(obj) if self._form.shape == "PartialObjectMetadata" else obj

    def bookmark(self, version: int, *, ends_initial: bool = False) -> bytes:
        kind, api_version = self._target.resource.kind, self._target.api_version
        meta: Object = {"resourceVersion": str(version)}
        if not self._target.resource.is_custom:
            meta["creationTimestamp"] = None
        if ends_initial:
            meta["annotations"] = {
                "k8s.io/initial-events-end": "true",
                "kubernetes.io/initial-events-list-blueprint": self._blueprint(),
            }
        body: Object = {"kind": kind, "apiVersion": api_version, "metadata": meta}
        if self._form.shape == "Table":
            body = table(self._target, [], meta=meta, include="None", with_columns=False)
        elif self._form.shape:
            body = partial(body)
        return encode({"type": "BOOKMARK", "object": body})

    def _blueprint(self) -> str:
        """The empty list that these events stand for, in base64."""
        kind, api_version = f"{self._target.resource.kind}List", self._target.api_version
        blank: Object = {"kind": kind, "apiVersion": api_version, "metadata": {}, "items": None}
        if self._target.resource.is_custom:
            blank = {"apiVersion": api_version, "items": [], "kind": kind}
        return base64.b64encode(encode(blank)).decode()


async def watch(
    request: web.Request, hub: WatchHub, objects: Objects, target: Target, *, user: User, form: Form
) -> web.StreamResponse:
    """Serve one watch until its time is over, the client leaves or it falls too far behind."""
    query = request.query
    check_match(query, is_watch=True)
    matches = selection(target, query)
    asked = parse_version(query.get("resourceVersion", ""))
    wanted = query.get("sendInitialEvents", "")
    with_initial = wanted == "true" or (wanted != "false" and asked == 0)
    bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
    lasts = parse_int(query["timeoutSeconds"]) if query.get("timeoutSeconds") else random.randint(*WATCH_S)  # noqa: S311
    deadline = asyncio.get_running_loop().time() + min(max(lasts, 0) or WATCH_S[0], MAX_WATCH_S)
    now = objects.store.version
    response = web.StreamResponse(headers=HEADERS)
    writer = EventWriter(objects, target, form)
    try:
        version = now if with_initial or asked > now else asked
        watcher = hub.open(target, matches, version=version, user=user.name, is_admin=user.is_admin)
    except Refused as exc:
        if exc.code != 410:
            raise
        await response.prepare(request)
        await send(request, response, encode({"type": "ERROR", "object": exc.status()}))
        return response
    try:
        existing = [] if not with_initial else _existing(objects, target, matches)
        await response.prepare(request)
        for event in existing:
            if watcher.is_over:  # so slow that it would keep alive what the history has dropped
                return response
            await send(request, response, writer.line(event))
        del existing
        watcher.since = sys.maxsize
        if wanted == "true" and bookmarks:
            await send(request, response, writer.bookmark(now, ends_initial=True))
        async for next_event in events(watcher, deadline=deadline, bookmarks=bookmarks):
            if next_event is None:
                await send(request, response, writer.bookmark(objects.store.version))
            elif next_event.version > asked:
                await send(request, response, writer.line(next_event))
        return response
    finally:
        hub.forget(watcher)


def _existing(objects: Objects, target: Target, matches: Any) -> list[Event]:
    stored = [
        obj
        for (namespace, name), obj in objects.store.all(target.resource.storage).items()
        if target.namespace in ("", namespace) and target.name in ("", name) and (matches is None or matches(obj))
    ]
    return list(initial(iter(stored)))


async def log(request: web.Request, objects: Objects, target: Target, paths: Paths) -> web.StreamResponse:
    """Serve a container's log."""
    pod = objects.stored(target)
    options = parse_log_options(request.query, pod=target.name)
    container = chosen_container(pod, options)
    path = log_file(paths, pod, container, options)
    over = asyncio.Event()

    def look(write: Write | None = None) -> None:
        if write is not None and (write.resource, write.key) != ("pods", target.key):
            return
        if container_is_over(objects.store.get("pods", target.key), pod["metadata"]["uid"], container, path.stem):
            over.set()

    look()
    response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"})
    await response.prepare(request)
    objects.store.listen(look)
    try:
        chunks: AsyncIterator[bytes] = read_log(path, options, is_over=over)
        async for chunk in chunks:
            await send(request, response, chunk)
    finally:
        objects.store.unlisten(look)
    return response


def container_is_over(pod: Mapping[str, Any] | None, uid: str, container: str, run: str) -> bool:
    """Will nothing be added to the log of this run of a container?"""
    if pod is None or pod["metadata"]["uid"] != uid:
        return True
    if get(pod, "status.phase") in ("Succeeded", "Failed"):
        return True
    for status in [*get(pod, "status.initContainerStatuses", []), *get(pod, "status.containerStatuses", [])]:
        if status.get("name") == container:
            return "terminated" in (status.get("state") or {}) or int(status.get("restartCount", 0)) > int(run)
    return False
