"""The HTTP side: authentication, routing by path and verb, and answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from slipway.onebox.api import admission, discovery, streams, writes
from slipway.onebox.api.answers import Sender
from slipway.onebox.api.auth import OPEN_PATHS, Authenticator, Authorizer, User
from slipway.onebox.api.bodies import MAX_BODY_BYTES
from slipway.onebox.api.definitions import STORAGE as CRD_STORAGE
from slipway.onebox.api.definitions import Definitions
from slipway.onebox.api.deletion import Deletion, parse_delete_options, read_delete_body
from slipway.onebox.api.documents import Documents
from slipway.onebox.api.errors import Refused, bad_request, no_such_path, not_allowed, not_found
from slipway.onebox.api.escalation import Escalation
from slipway.onebox.api.eviction import evict
from slipway.onebox.api.expiry import EventExpiry
from slipway.onebox.api.garbage import GarbageCollector
from slipway.onebox.api.listing import Page, list_page, selection, too_large
from slipway.onebox.api.objects import Objects
from slipway.onebox.api.presentation import Form, negotiate, shape_list, shape_object
from slipway.onebox.api.responses import refuse, respond, text
from slipway.onebox.api.reviews import ANSWERS, review
from slipway.onebox.api.routes import ResourcePath, access_of, parse_path, resolve
from slipway.onebox.api.scale import render_scale
from slipway.onebox.api.store_copy import STORE_COPY_PATH, send_copy
from slipway.onebox.api.target import Object, Target, parse_version
from slipway.onebox.api.watching import WatchHub
from slipway.onebox.paths import Paths

log = logging.getLogger(__name__)
BODY_TIMEOUT_S = 30.0
BIG_BODY_BYTES = 64 * 1024
MAX_BIG_BODIES = 64
"""Larger bodies that are read at the same time; further ones wait their turn, within their time."""
UNSUPPORTED = {
    "exec": "running commands in a container is not offered here: the processes of a Pod are on this machine",
    "attach": "attaching to a container is not offered here: see its log",
    "portforward": "port forwarding is not offered here: a Pod's address is reachable on this machine",
    "binding": "Pods are bound by the runner of this machine",
    "token": "TokenRequest is not offered: make a Secret of type kubernetes.io/service-account-token",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Parts:
    """What the server is made of."""

    objects: Objects
    hub: WatchHub
    deletion: Deletion
    definitions: Definitions
    authenticator: Authenticator
    authorizer: Authorizer
    garbage: GarbageCollector
    expiry: EventExpiry
    paths: Paths


def make_app(parts: Parts, *, heard: Callable[[asyncio.BaseProtocol], None] = lambda _: None) -> web.Application:
    """``heard`` is told of each connection whose request has come whole, headers included."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    api = Api(parts)

    async def handle(request: web.Request) -> web.StreamResponse:
        heard(request.protocol)
        return await api.handle(request)

    app.router.add_route("*", "/{tail:.*}", handle)

    async def tidy(_: web.Application) -> Any:
        tasks = [
            asyncio.create_task(parts.garbage.run(), name="garbage collector"),
            asyncio.create_task(parts.expiry.run(), name="expiry of Events"),
            asyncio.create_task(parts.hub.run(), name="expiry of the history"),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close_watches(_: web.Application) -> None:
        parts.hub.close()

    app.cleanup_ctx.append(tidy)
    app.on_shutdown.append(close_watches)
    return app


class Api:
    """Serves every path."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._objects = parts.objects
        self._catalog = parts.objects.catalog
        self._documents = Documents(self._catalog)
        self._sender = Sender()
        self._big_bodies = asyncio.Semaphore(MAX_BIG_BODIES)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request; every failure is a Status."""
        try:
            answer = await self._answer(request)
            return await self._sender.deliver(request, answer) if isinstance(answer, web.Response) else answer
        except Refused as exc:
            return refuse(exc)
        except web.HTTPRequestEntityTooLarge:
            message = f"Request entity too large: limit is {MAX_BODY_BYTES}"
            return refuse(Refused(413, message, reason="RequestEntityTooLarge"))
        except web.RequestPayloadError:
            return refuse(bad_request("the body cannot be read: it is not as its Transfer- or Content-Encoding says"))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except TimeoutError:
            return refuse(Refused(408, "the body did not arrive in time", reason="Timeout"))
        except Exception:
            log.exception("%s %s", request.method, request.path)
            message = "Internal error occurred: see the log of the API"
            return refuse(Refused(500, message, reason="InternalError", details={}))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/") or "/"  # some clients ask for /version/
        if path in OPEN_PATHS or path.startswith(("/livez/", "/readyz/")):
            return respond(discovery.VERSION) if path == "/version" else text("ok")
        user = self._parts.authenticator.user(request.headers.get("Authorization", ""))
        user = self._parts.authorizer.acting(
            user,
            name=request.headers.get("Impersonate-User", ""),
            groups=request.headers.getall("Impersonate-Group", []),
        )
        found = parse_path(request.raw_path.partition("?")[0])
        if found is None or not found.plural:
            self._parts.authorizer.check_path(user, path)
            if path == STORE_COPY_PATH and request.method == "GET":
                return await send_copy(request, self._objects.store, beside=self._parts.paths.api_database.parent)
            return self._documents.answer(request)
        return await self._resource(request, user, found)

    async def _resource(self, request: web.Request, user: User, path: ResourcePath) -> web.StreamResponse:
        query = request.query
        is_watch = path.is_watch or (query.get("watch") in ("true", "1") and not path.name)
        access = access_of(path, request.method, is_watch=is_watch, selector=query.get("fieldSelector", ""))
        self._parts.authorizer.check(user, access)
        if path.group not in self._catalog.groups():
            return text("404 page not found\n", status=404)
        target = resolve(self._catalog, path)
        if target.subresource and target.subresource not in target.resource.all_subresources:
            if target.resource.is_custom:
                raise not_found(target.resource.plural, target.resource.group, target.name)
            raise no_such_path()
        if not target.subresource and access.verb not in target.resource.verbs:
            raise not_allowed()
        if target.subresource in UNSUPPORTED:
            return self._unsupported(request, target)
        if request.method == "GET":
            return await self._read(request, target, user, is_watch=is_watch)
        return await self._write(request, target, user)

    def _unsupported(self, request: web.Request, target: Target) -> web.Response:
        self._objects.stored(target)
        if target.subresource in ("exec", "attach", "portforward"):
            if "Upgrade" not in request.headers:
                raise bad_request("Upgrade request required")
            raise bad_request(UNSUPPORTED[target.subresource])
        raise Refused(405, UNSUPPORTED[target.subresource], reason="MethodNotAllowed", details={})

    async def _read(self, request: web.Request, target: Target, user: User, *, is_watch: bool) -> web.StreamResponse:
        query = request.query
        if target.subresource == "log":
            return await streams.log(request, self._objects, target, self._parts.paths)
        if target.subresource not in ("", "status", "scale"):
            raise not_allowed()
        form = negotiate(request.headers.get("Accept", ""), query, is_custom=target.resource.is_custom)
        if is_watch:
            return await streams.watch(request, self._parts.hub, self._objects, target, user=user, form=form)
        await self._reach(query)
        pretty = query.get("pretty") in ("true", "1")
        if not target.name:
            page = list_page(self._objects.store, target, query)
            return respond(self._list(form, target, page), form=form, pretty=pretty)
        obj = self._objects.get(target)
        if target.subresource == "scale" and target.resource.scale:
            return respond(render_scale(target, obj, target.resource.scale), form=form)
        return respond(shape_object(form, target, obj), form=form, pretty=pretty)

    async def _reach(self, query: Mapping[str, str]) -> None:
        asked, store = parse_version(query.get("resourceVersion", "")), self._objects.store
        if asked > store.version and not await self._parts.hub.reached(asked):
            raise too_large(asked, store.version)

    def _list(self, form: Form, target: Target, page: Page) -> Object:
        meta: Object = {"resourceVersion": str(page.version)}
        if page.token:
            meta["continue"] = page.token
            if page.remaining is not None:
                meta["remainingItemCount"] = page.remaining
        return shape_list(form, target, [self._objects.shown(target, obj) for obj in page.items], meta)

    async def _body(self, request: web.Request) -> bytes:
        """The whole body; TimeoutError where it does not come."""
        async with asyncio.timeout(BODY_TIMEOUT_S):
            if request.content_length is not None and request.content_length <= BIG_BODY_BYTES:
                return await request.read()
            async with self._big_bodies:
                return await request.read()

    async def _write(self, request: web.Request, target: Target, user: User) -> web.StreamResponse:
        body = await self._body(request)
        query, method = request.query, request.method
        objects = self._objects.guarded(Escalation(self._parts.authorizer, user).check)
        form = negotiate(request.headers.get("Accept", ""), query, is_custom=target.resource.is_custom)
        arguments: dict[str, Any] = {
            "body": body,
            "media": request.headers.get("Content-Type", ""),
            "agent": request.headers.get("User-Agent", ""),
        }
        if method == "POST" and target.subresource == "eviction":
            return self._evict(target, body)
        if method == "POST" and target.resource.kind in ANSWERS and not target.resource.is_custom:
            obj, options = writes.question(target, query, **arguments)
            answered = review(target, obj, options, authorizer=self._parts.authorizer, user=user)
            return respond(shape_object(form, target, answered), status=201, form=form)
        if method == "DELETE" and not target.subresource:
            return self._delete(target, query, body, form)
        named = {"PUT": writes.replace, "PATCH": writes.patch}.get(method)
        if method == "POST" and not target.subresource and (not target.name or target.resource.is_custom):
            if target.resource.namespaced and not target.namespace:
                raise not_allowed()
            outcome = writes.create(objects, target, query, **arguments)
        elif named is not None and target.name and target.subresource in ("", "status", "scale"):
            outcome = named(objects, target, query, **arguments)
        else:
            raise writes.unsupported(target, "create") if method == "POST" and target.subresource else not_allowed()
        self._follow_definitions(target, outcome.obj, is_gone=outcome.removed)
        shown = (
            shape_object(form, target, writes.answer(target, outcome))
            if target.subresource != "scale"
            else writes.answer(target, outcome)
        )
        told = () if target.subresource == "status" else admission.warnings(outcome.obj)
        return respond(shown, status=201 if outcome.created else 200, form=form, warnings=(*outcome.warnings, *told))

    def _follow_definitions(self, target: Target, obj: Object, *, is_gone: bool) -> None:
        if target.resource.storage != CRD_STORAGE or (
            self._objects.store.get(CRD_STORAGE, ("", obj["metadata"]["name"])) is None and not is_gone
        ):
            return
        if is_gone:
            self._parts.definitions.gone(obj)
        else:
            self._parts.definitions.established(obj)

    def _evict(self, target: Target, body: bytes) -> web.Response:
        evict(self._objects, self._parts.deletion, target, read_delete_body(body))
        return respond(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, status=201
        )

    def _delete(self, target: Target, query: Mapping[str, str], body: bytes, form: Form) -> web.Response:
        options = parse_delete_options(query, read_delete_body(body))
        deletion = self._parts.deletion
        if not target.name:
            if "deletecollection" not in target.resource.verbs:
                raise not_allowed()
            matches = selection(target, query)
            keys = [
                (key, obj)
                for key, obj in sorted(self._objects.store.all(target.resource.storage).items())
                if target.namespace in ("", key[0]) and (matches is None or matches(obj))
            ]
            gone, version = [], self._objects.store.version
            for (namespace, name), obj in keys:
                one = Target(target.resource, target.version, namespace, name)
                deletion.delete(one, options)
                gone.append(obj)
            return respond(self._list(form, target, Page(gone, version)), form=form)
        deleted = deletion.delete(target, options)
        if deleted.is_gone and not options.dry_run:
            self._follow_definitions(target, deleted.obj, is_gone=True)
        if deleted.is_gone and target.resource.storage != "pods":
            return respond(deletion.status(target, deleted))
        return respond(shape_object(form, target, deleted.obj), form=form)
