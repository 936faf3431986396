"""How answers look: what an Accept header asks for, and objects and lists as JSON, Tables or metadata alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from slipway.onebox.api.errors import Refused, bad_request
from slipway.onebox.api.target import Object, Target

META_API = "meta.k8s.io/v1"
SHAPES = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


@dataclass(frozen=True)
class Form:
    """``shape`` is empty for the object itself; ``media`` is application/json or application/yaml."""

    shape: str = ""
    media: str = "application/json"
    include: str = "Metadata"  # what a Table row carries: None, Metadata or Object


def negotiate(accept: str, query: Mapping[str, str], *, is_custom: bool) -> Form:
    """The first media range that can be served. Refused 406; protobuf is never served, JSON is taken instead."""
    wants_protobuf = False
    for part in filter(None, (piece.strip() for piece in accept.split(","))):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        named = dict(parameter.partition("=")[::2] for parameter in parameters)
        if named.get("as") in SHAPES and media in ("application/json", "*/*"):
            if named.get("g") == "meta.k8s.io" and named.get("v") == "v1":
                return Form(named["as"].removesuffix("List"), "application/json", _include(query))
        elif "as" not in named and media in ("application/json", "*/*", "application/*"):
            return Form()
        elif "as" not in named and media == "application/yaml":
            return Form(media=media)
        wants_protobuf = wants_protobuf or media == "application/vnd.kubernetes.protobuf"
    if not accept.strip():
        return Form()
    if is_custom or ";" in accept or wants_protobuf:
        message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        raise Refused(406, message, reason="NotAcceptable")
    message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    raise Refused(406, message, reason="NotAcceptable", details={})


def _include(query: Mapping[str, str]) -> str:
    include = query.get("includeObject", "") or "Metadata"
    if include not in ("None", "Metadata", "Object"):
        raise bad_request(
            f"Unable to convert to Table as requested: includeObject: Invalid value: \"{include}\": must be 'Metadata', 'Object', 'None', or empty"
        )
    return include


def shape_object(form: Form, target: Target, obj: Object) -> Object:
    """One object in the asked shape."""
    if form.shape == "Table":
        meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return table(target, [obj], meta=meta, include=form.include)
    if form.shape == "PartialObjectMetadata":
        return partial(obj)
    return obj


def shape_list(form: Form, target: Target, objects: Sequence[Object], meta: Object) -> Object:
    """A list in the asked shape. Items of built-in kinds carry no kind and apiVersion."""
    if form.shape == "Table":
        return table(target, objects, meta=meta, include=form.include)
    if form.shape == "PartialObjectMetadata":
        items: Sequence[Object] = [partial(obj) for obj in objects]
        return {"kind": "PartialObjectMetadataList", "apiVersion": META_API, "metadata": meta, "items": items}
    if target.resource.is_custom:
        items, meta = objects, {"continue": "", **meta}
    else:
        items = [{key: value for key, value in obj.items() if key not in ("kind", "apiVersion")} for obj in objects]
    return {
        "kind": f"{target.resource.kind}List",
        "apiVersion": target.api_version,
        "metadata": meta,
        "items": items,
    }


def partial(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": META_API, "metadata": obj["metadata"]}


def table(
    target: Target, objects: Sequence[Object], *, meta: Object, include: str, with_columns: bool = True
) -> Object:
    """The Table of objects; ``with_columns`` False leaves the definitions out, as later events of a watch do."""
    columns = target.version.columns
    stored = target.resource.stored_as
    rows = []
    for obj in objects:
        source = target.version.load(obj) if stored else obj
        carried = {"None": None, "Metadata": partial(obj), "Object": obj}[include]
        rows.append({"cells": [column.cell(source) for column in columns], "object": carried})
    definitions = [column.definition() for column in columns] if with_columns else None
    return {"kind": "Table", "apiVersion": META_API, "metadata": meta, "columnDefinitions": definitions, "rows": rows}


def encode(value: Any, form: Form | None = None, *, pretty: bool = False) -> bytes:
    """The body; ``pretty`` indents JSON by two."""
    # names in errors may come from headers, which are no UTF-8 always
    if form is not None and form.media == "application/yaml":
        return str(yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=True)).encode(errors="replace")
    if pretty:
        return json.dumps(value, indent=2, ensure_ascii=False).encode(errors="replace") + b"\n"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace") + b"\n"
