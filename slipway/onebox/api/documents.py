"""Answers about the kinds themselves: discovery in its three forms, and OpenAPI in two."""

from __future__ import annotations

import json
from collections.abc import Callable

from aiohttp import web

from slipway.onebox.api import discovery, openapi
from slipway.onebox.api.errors import no_such_path
from slipway.onebox.api.presentation import encode
from slipway.onebox.api.resources import Catalog, digest
from slipway.onebox.api.responses import respond, text
from slipway.onebox.api.target import Object


class Documents:
    """Of one table of kinds. The large ones are rendered once, until the table changes."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._revision = catalog.revision
        self._rendered: dict[str, tuple[bytes, str]] = {}

    def answer(self, request: web.Request) -> web.Response:  # noqa: PLR0911  - one per path
        """To a path that is no kind's. Refused 404 for a version that is not there."""
        path = request.path.rstrip("/") or "/"
        parts = path.strip("/").split("/")
        wants_all = "as=APIGroupDiscoveryList" in request.headers.get("Accept", "")
        if path == "/":
            return respond(discovery.root_paths(self._catalog))
        if path in ("/api", "/apis") and wants_all:
            return self._aggregated(request, core=path == "/api")
        if path == "/api":
            return respond(discovery.api_versions(request.host))
        if path == "/apis":
            return respond(discovery.group_list(self._catalog))
        if parts[0] == "openapi" and len(parts) > 1:
            return self._openapi(request, parts)
        groups = self._catalog.groups()
        if parts[0] == "apis" and parts[1] in groups and parts[1]:
            if len(parts) == 2:
                return respond(discovery.group(self._catalog, parts[1]))
            return self._resource_list(parts[1], parts[2])
        if parts[0] == "api" and len(parts) == 2:
            return self._resource_list("", parts[1])
        return text("404 page not found\n", status=404)

    def _resource_list(self, group: str, version: str) -> web.Response:
        try:
            return respond(discovery.resource_list(self._catalog, group, version))
        except KeyError as exc:
            raise no_such_path() from exc

    def _aggregated(self, request: web.Request, *, core: bool) -> web.Response:
        body, tag = self._document(f"aggregated {core}", lambda: discovery.aggregated(self._catalog, core=core))
        headers = {"Cache-Control": "public", "Etag": f'"{tag}"', "Vary": "Accept"}
        if request.headers.get("If-None-Match") == f'"{tag}"':
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers={**headers, "Content-Type": discovery.AGGREGATED})

    def _document(self, name: str, make: Callable[[], Object]) -> tuple[bytes, str]:
        """A rendered document and its hash, kept until the table of kinds changes."""
        if self._revision != self._catalog.revision:
            self._revision = self._catalog.revision
            self._rendered.clear()  # those of kinds that are gone, too
        if name not in self._rendered:
            value = make()
            self._rendered[name] = encode(value), digest([value])
        return self._rendered[name]

    def _openapi(self, request: web.Request, parts: list[str]) -> web.Response:
        headers = {"Cache-Control": "no-cache, private", "Content-Type": "application/json", "Vary": "Accept"}
        if parts[1:] == ["v2"] and "spec.v2" in request.headers.get("Accept", ""):
            return web.Response(body=openapi.NO_KINDS, headers={**headers, "Content-Type": openapi.V2_PROTOBUF})
        if parts[1:] == ["v2"]:
            body, tag = self._document("v2", lambda: openapi.v2_document(self._catalog))
            return web.Response(body=body, headers={**headers, "Etag": f'"{tag}"'})
        versions = {
            (f"apis/{group}/{version}" if group else f"api/{version}"): (group, version)
            for group, names in self._catalog.groups().items()
            for version in names
        }
        if parts[1:] == ["v3"]:
            index = {
                name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={self._v3(*place)[1]}"}
                for name, place in versions.items()
            }
            return text(json.dumps({"paths": index}))
        name = "/".join(parts[2:])
        if parts[1] != "v3" or name not in versions:
            return text("404 page not found\n", status=404)
        body, tag = self._v3(*versions[name])
        wanted = request.query.get("hash")
        headers["Etag"] = f'"{tag}"'
        if wanted and wanted != tag:
            headers["Location"] = f"/openapi/v3/{name}?hash={tag}"
            return web.Response(status=301, headers=headers)
        if wanted:
            headers["Cache-Control"] = "public, immutable"
        return web.Response(body=body, headers=headers)

    def _v3(self, group: str, version: str) -> tuple[bytes, str]:
        return self._document(f"v3 {group}/{version}", lambda: openapi.v3_document(self._catalog, group, version))
