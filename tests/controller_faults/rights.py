"""Recorded requests → the rights they need; the rules of a role → the rights they give (Kubernetes, "Request verbs")."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tests.controller_faults.proxy import Request

PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
APPLY = "application/apply-patch+yaml"


class Right(NamedTuple):
    """``name`` is empty where no single object is meant."""

    verb: str
    group: str
    resource: str
    name: str = ""


def needed(requests: Iterable[Request]) -> set[tuple[Right, str]]:
    """(right, namespace or empty) of each request that an API server would ask its authorizer about."""
    return {pair for request in requests for pair in _of(request)}


def _of(request: Request) -> Iterator[tuple[Right, str]]:
    match = PATH.fullmatch(request.path)
    assert match, request.path
    name, namespace = match["name"] or "", match["namespace"] or ""
    if not name:  # a selector by name counts as that name
        name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
    resource = "/".join(filter(None, (match["resource"], match["sub"])))
    verb = VERBS.get(request.method) or ("watch" if request.is_watch else "get" if match["name"] else "list")
    right = Right(verb, match["group"] or "", resource, name)
    yield right, namespace
    if verb == "patch" and request.content_type == APPLY and request.code == 201:
        yield right._replace(verb="create"), namespace  # an apply that makes an object needs both


def given(rules: Iterable[Mapping[str, Any]]) -> set[Right]:
    return {
        Right(verb, group, resource, name)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
    }


def covers(granted: Iterable[Right], right: Right) -> bool:
    return any(one in (right, right._replace(name="")) for one in granted)
