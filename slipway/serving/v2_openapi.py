"""The OpenAPI document of the Open Inference Protocol, as both servers serve it, and its page."""

from __future__ import annotations

from typing import Any

from aiohttp import web

import slipway
from slipway.contract.datatypes import DATATYPES
from slipway.serving.api_page import render_page
from slipway.serving.messages import JSON
from slipway.serving.v2_rest import OCTETS

DOCUMENT_NAME = "dataplane.json"
MODEL_PATHS = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT = {"type": "string"}
_PARAMETERS = {
    "type": "object",
    "additionalProperties": {"oneOf": [{"type": kind} for kind in ("string", "number", "boolean")]},
}
_SHAPE = _list({"type": "integer"})
SCHEMAS: dict[str, Any] = {
    "Tensor": {
        **_object(
            name=_TEXT, datatype={"type": "string", "enum": list(DATATYPES)}, shape=_SHAPE, parameters=_PARAMETERS,
            data={"type": "array", "items": {}, "description": "flat, or nested as the shape"},
        ),
        "required": ["name", "datatype", "shape"],
    },
    "RequestedOutput": {**_object(name=_TEXT, parameters=_PARAMETERS), "required": ["name"]},
    "InferenceRequest": {
        **_object(
            id=_TEXT, parameters=_PARAMETERS, inputs=_list(_ref("Tensor")), outputs=_list(_ref("RequestedOutput"))
        ),
        "required": ["inputs"],
    },
    "InferenceResponse": _object(
        id=_TEXT, model_name=_TEXT, model_version=_TEXT, parameters=_PARAMETERS, outputs=_list(_ref("Tensor"))
    ),
    "ModelMetadata": _object(
        name=_TEXT, versions=_list(_TEXT), platform=_TEXT, inputs=_list(_ref("Tensor")), outputs=_list(_ref("Tensor"))
    ),
    "Error": {**_object(error=_TEXT), "required": ["error"]},
}  # fmt: skip


def v2_openapi(title: str) -> dict[str, Any]:
    """OpenAPI 3.0 of what a component and a graph of protocol v2 serve."""
    paths: dict[str, Any] = {"/v2/models/infer": {"post": _infer("infer, whatever the model's name")}}
    for path in MODEL_PATHS:
        paths[f"{path}/infer"] = {"post": _infer("infer")}
        paths[path] = {"get": _get("metadata of the model", _ref("ModelMetadata"))}
        paths[f"{path}/ready"] = {"get": _get("whether the model is ready: 200 or 503")}
    for path, summary in (
        ("/v2", "name, version and extensions of the server"),
        ("/v2/health/live", "whether the server is alive"),
        ("/v2/health/ready", "whether it is ready: 200 or 503"),
    ):
        paths[path] = {"get": _get(summary)}
    return {
        "openapi": "3.0.3",
        "info": {"title": f"{title}: Open Inference Protocol", "version": slipway.__version__},
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def _infer(summary: str) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = {JSON: {"schema": _ref("InferenceRequest")}, OCTETS: binary}
    answer = {JSON: {"schema": _ref("InferenceResponse")}, OCTETS: binary}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "the answer", "content": answer}, **_errors()},
    }


def _get(summary: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "OK", "content": {JSON: {"schema": schema or {"type": "object"}}}},
            **_errors(),
        },
    }


def _errors() -> dict[str, Any]:
    return {"default": {"description": "an error", "content": {JSON: {"schema": _ref("Error")}}}}


def add_v2_docs(router: web.UrlDispatcher, title: str) -> None:
    """``/v2/docs/``, a page, and the document that it shows."""
    document = v2_openapi(title)
    page = render_page(document, document_url=DOCUMENT_NAME)

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async def describe(_request: web.Request) -> web.Response:
        return web.json_response(document)

    router.add_get("/v2/docs/", show)
    router.add_get(f"/v2/docs/{DOCUMENT_NAME}", describe)
