"""Runs the rules of a CRD's schema as an API server does: in CEL, at every place of an object where one stands."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel

ENVIRONMENT = celpy.Environment()
OLD = "oldSelf"


def violations(schema: dict[str, Any], value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """``(path, message)`` of each rule that does not hold. Rules that compare with what was before are passed over."""
    for check in schema.get("x-kubernetes-validations") or ():
        if OLD not in check["rule"] and not program(check["rule"]).evaluate({"self": json_to_cel(value)}):
            yield path, check.get("message") or check["rule"]
    if isinstance(value, dict):
        rest = schema.get("additionalProperties")
        for key, item in value.items():
            below = (schema.get("properties") or {}).get(key, rest if isinstance(rest, dict) else {})
            yield from violations(below, item, f"{path}.{key}".lstrip("."))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from violations(schema.get("items") or {}, item, f"{path}[{index}]")


def defaulted(schema: dict[str, Any], value: Any) -> Any:
    """``value`` with the schema's defaults where it says nothing: an API server sets them before it asks a rule."""
    if isinstance(value, list):
        return [defaulted(schema.get("items") or {}, item) for item in value]
    if not isinstance(value, dict):
        return value
    known = schema.get("properties") or {}
    missing = {key: below["default"] for key, below in known.items() if key not in value and "default" in below}
    return {key: defaulted(known.get(key) or {}, item) for key, item in {**value, **missing}.items()}


@cache
def program(rule: str) -> celpy.Runner:
    """Names that are words of CEL come escaped, which this CEL does not ask for."""
    return ENVIRONMENT.program(ENVIRONMENT.compile(rule.replace("__namespace__", "namespace")), functions=FUNCTIONS)


def total(values: celtypes.ListType) -> celtypes.IntType:
    """Of Kubernetes' list library for CEL; the language itself has no sum."""
    return celtypes.IntType(sum(int(value) for value in values))


def url(text: celtypes.StringType) -> celtypes.StringType:
    """Of Kubernetes' URL library, as ``scheme`` is the one part of a URL that rules here ask for."""
    if not urlsplit(str(text)).scheme:
        raise celpy.CELEvalError(f"{text!r} is no URL")
    return text


def scheme(text: celtypes.StringType) -> celtypes.StringType:
    return celtypes.StringType(urlsplit(str(text)).scheme)


FUNCTIONS = {"sum": total, "url": url, "getScheme": scheme}
