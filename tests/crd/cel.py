"""Runs the rules of a CRD's schema as an API server does: in CEL, at every place of an object where one stands."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel

ENVIRONMENT = celpy.Environment()


def violations(schema: dict[str, Any], value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """``(path, message)`` of each rule that does not hold."""
    for check in schema.get("x-kubernetes-validations") or ():
        if not program(check["rule"]).evaluate({"self": json_to_cel(value)}):
            yield path, check["message"]
    if isinstance(value, dict):
        for key, item in value.items():
            yield from violations((schema.get("properties") or {}).get(key, {}), item, f"{path}.{key}".lstrip("."))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from violations(schema.get("items") or {}, item, f"{path}[{index}]")


@cache
def program(rule: str) -> celpy.Runner:
    return ENVIRONMENT.program(ENVIRONMENT.compile(rule), functions={"sum": total})


def total(values: celtypes.ListType) -> celtypes.IntType:
    """Of Kubernetes' list library for CEL; the language itself has no sum."""
    return celtypes.IntType(sum(int(value) for value in values))
