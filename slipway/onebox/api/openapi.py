"""OpenAPI documents of the served kinds, enough for kubectl's validation, apply and explain."""

from __future__ import annotations

from typing import Any

from slipway.onebox.api.resources import Catalog, Resource, Version
from slipway.onebox.api.types import load_types

Object = dict[str, Any]
INTERNAL = "x-slipway-"
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
NO_KINDS = b"\x0a\x032.0" + b"\x12\x12\x0a\x0aKubernetes\x12\x041.32" + b"\x42\x00"
"""Swagger 2.0 of no kinds in gnostic's protobuf (OpenAPIv2.proto: 1 swagger, 2 info, 8 paths).

kubectl asks for that document, and in protobuf only, where that of version 3 has not what it looks for: the second has no
more, and where this one cannot be read, a kind that there is not is told as a broken document.
"""


def definition_name(group: str, version: str, kind: str) -> str:
    """``io.k8s.api.apps.v1.Deployment`` for built-ins, the reversed group for custom kinds."""
    if "." in group and not group.endswith("k8s.io"):
        return ".".join([*reversed(group.split(".")), version, kind])
    return f"io.k8s.api.{group.partition('.')[0] or 'core'}.{version}.{kind}"


class Definitions:
    """Collects schemas under names; named types become references, so that documents stay small."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.found: dict[str, Object] = {}

    def of_kind(self, row: Resource, version: Version) -> str:
        name = definition_name(row.group, version.name, row.kind)
        schema = self._schema(version.schema, top=True)
        text = {"type": "string"}
        schema["properties"] = {"apiVersion": text, "kind": text, **schema.get("properties", {})}
        schema["x-kubernetes-group-version-kind"] = [{"group": row.group, "kind": row.kind, "version": version.name}]
        self.found[name] = schema
        listed = {
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": text,
                "kind": text,
                "metadata": {"type": "object"},
                "items": {"type": "array", "items": {"$ref": self._prefix + name}},
            },
            "x-kubernetes-group-version-kind": [
                {"group": row.group, "kind": f"{row.kind}List", "version": version.name}
            ],
        }
        self.found[f"{name}List"] = listed
        return name

    def _schema(self, schema: Any, *, top: bool = False) -> Any:
        if isinstance(schema, list):
            return [self._schema(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        type_name = schema.get("x-slipway-type")
        if type_name and not top:
            return self._reference(type_name)
        result = {
            key: self._properties(value) if key == "properties" else self._schema(value)
            for key, value in schema.items()
            if not key.startswith(INTERNAL) and key != "default"
        }
        if not result.get("required"):
            result.pop("required", None)
        if "type" not in result and "x-kubernetes-int-or-string" in result:
            result["oneOf"] = [{"type": "integer"}, {"type": "string"}]
        return result

    def _properties(self, properties: Any) -> Any:
        return {name: self._schema(child) for name, child in properties.items()}

    def _reference(self, type_name: str) -> Object:
        name = f"io.k8s.api.core.v1.{type_name}"
        if type_name == "ObjectMeta":
            name = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
        if name not in self.found:
            self.found[name] = {}  # a type may contain itself
            self.found[name] = self._schema(load_types()[type_name], top=True)
        return {"$ref": self._prefix + name}


def v2_document(catalog: Catalog) -> Object:
    """Swagger 2.0: every served kind."""
    definitions = Definitions("#/definitions/")
    paths: Object = {}
    for row in catalog.rows():
        for version in row.versions:
            name = definitions.of_kind(row, version)
            paths |= _paths(row, version, {"schema": {"$ref": f"#/definitions/{name}"}}, is_v2=True)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "1.32"},
        "paths": paths,
        "definitions": definitions.found,
    }


def v3_document(catalog: Catalog, group: str, version: str) -> Object:
    """OpenAPI 3 of one group and version."""
    definitions = Definitions("#/components/schemas/")
    paths: Object = {}
    for row, served in catalog.serving(group, version):
        name = definitions.of_kind(row, served)
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        paths |= _paths(row, served, {"content": content}, is_v2=False)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.32"},
        "paths": paths,
        "components": {"schemas": definitions.found},
    }


WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def _paths(row: Resource, version: Version, answer: Object, *, is_v2: bool) -> Object:
    """The paths of a kind with the parameters by which kubectl learns what a server can do."""
    root = f"/apis/{row.group}/{version.name}" if row.group else f"/api/{version.name}"
    collection = f"{root}/namespaces/{{namespace}}/{row.plural}" if row.namespaced else f"{root}/{row.plural}"
    gvk = {"group": row.group, "version": version.name, "kind": row.kind}

    def parameter(name: str) -> Object:
        text = {"type": "string"} if is_v2 else {"schema": {"type": "string"}}
        return {"name": name, "in": "query", **text}

    def operation(action: str, names: tuple[str, ...] = ()) -> Object:
        return {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
            "parameters": [parameter(name) for name in names],
            "responses": {"200": {"description": "OK", **answer}},
        }

    return {
        collection: {"get": operation("list"), "post": operation("post", WRITE_PARAMETERS)},
        f"{collection}/{{name}}": {
            "get": operation("get"),
            "put": operation("put", WRITE_PARAMETERS),
            "patch": operation("patch", (*WRITE_PARAMETERS, "force")),
            "delete": operation("delete", ("dryRun", "propagationPolicy", "gracePeriodSeconds")),
        },
    }
