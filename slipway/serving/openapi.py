"""The OpenAPI document of a component or a graph, made from the paths that it serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

import slipway
from slipway.serving.api_page import render_page
from slipway.serving.messages import JSON, PROTOBUF

DOCUMENT_NAME = "seldon.json"
DOC_BASES = ("/api/v1.0/doc/", "/api/v0.1/doc/")

_STRINGS = {"type": "array", "items": {"type": "string"}}
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_ANY = {"description": "any JSON value"}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


SCHEMAS: dict[str, Any] = {
    "SeldonMessage": _object(
        status=_ref("Status"),
        meta=_ref("Meta"),
        data=_ref("DefaultData"),
        binData={"type": "string", "format": "byte"},
        strData={"type": "string"},
        jsonData=_ANY,
        customData={"type": "object"},
    ),
    "DefaultData": _object(
        names=_STRINGS,
        tensor=_ref("Tensor"),
        ndarray={"type": "array", "items": _ANY},
        tftensor={"type": "object", "description": "tensorflow.TensorProto"},
    ),
    "Tensor": _object(shape={"type": "array", "items": {"type": "integer"}}, values=_NUMBERS),
    "Meta": _object(
        puid={"type": "string"},
        tags={"type": "object", "additionalProperties": _ANY},
        routing={"type": "object", "additionalProperties": {"type": "integer"}},
        requestPath={"type": "object", "additionalProperties": {"type": "string"}},
        metrics={"type": "array", "items": _ref("Metric")},
    ),
    "Metric": _object(
        key={"type": "string"},
        type={"type": "string", "enum": ["COUNTER", "GAUGE", "TIMER"]},
        value={"type": "number"},
        tags={"type": "object", "additionalProperties": {"type": "string"}},
    ),
    "Status": _object(
        code={"type": "integer"}, info={"type": "string"}, reason={"type": "string"}, status={"type": "integer"}
    ),
    "SeldonMessageList": _object(seldonMessages={"type": "array", "items": _ref("SeldonMessage")}),
    "Feedback": _object(
        request=_ref("SeldonMessage"),
        response=_ref("SeldonMessage"),
        reward={"type": "number"},
        truth=_ref("SeldonMessage"),
    ),
}
_REQUESTS = {"aggregate": "SeldonMessageList", "send_feedback": "Feedback"}
_PHOTOS = ("multipart/form-data", "application/octet-stream", "image/*")


def openapi(
    paths: Mapping[str, Iterable[tuple[str, bool]]], *, title: str, facts: Iterable[str], server: str = "/"
) -> dict[str, Any]:
    """OpenAPI 3.0 for ``paths``: hook → (path, answers GET too).

    ``facts`` are paths that answer GET only; ``server`` is what clients write before all of them.
    """
    documented: dict[str, Any] = {}
    for hook, of_hook in paths.items():
        for path, takes_get in of_hook:
            documented[path] = {"post": _post(hook)} | ({"get": _get(hook)} if takes_get else {})
    for path in facts:
        documented[path] = {"get": {"responses": {"200": {"description": "OK"}}}}
    return {
        "openapi": "3.0.3",
        "info": {"title": title, "version": slipway.__version__},
        "servers": [{"url": server}],
        "paths": documented,
        "components": {"schemas": SCHEMAS},
    }


def _post(hook: str) -> dict[str, Any]:
    schema = _ref(_REQUESTS.get(hook, "SeldonMessage"))
    raw = {} if hook in _REQUESTS else {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _PHOTOS}
    content = {JSON: {"schema": schema}, PROTOBUF: {"schema": {"type": "string", "format": "binary"}}, **raw}
    return {"operationId": hook, "requestBody": {"required": True, "content": content}, "responses": _responses()}


def _get(hook: str) -> dict[str, Any]:
    query = {"name": "json", "in": "query", "required": True, "schema": {"type": "string"}}
    return {"operationId": f"{hook}_by_get", "parameters": [query], "responses": _responses()}


def _responses() -> dict[str, Any]:
    message = {JSON: {"schema": _ref("SeldonMessage")}}
    return {
        "200": {"description": "the component's reply", "content": message},
        "default": {"description": "an error; status.reason is its machine code", "content": message},
    }


def add_doc_routes(router: web.UrlDispatcher, document: Mapping[str, Any]) -> None:
    """A page below each of DOC_BASES (contract 3.1), and beside it the document that it shows."""
    page = render_page(document, document_url=DOCUMENT_NAME)

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async def describe(_request: web.Request) -> web.Response:
        return web.json_response(document)

    for base in DOC_BASES:
        router.add_get(base, show)
        router.add_get(f"{base}{DOCUMENT_NAME}", describe)
