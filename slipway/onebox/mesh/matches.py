"""The `match` and `rewrite` of a VirtualService's route → path and header conditions, and what becomes of the path."""

from __future__ import annotations

import re

from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.ir import PathKind, Rewrite, RouteMatch, TextMatch

MATCH_FIELDS = {
    "name",
    "uri",
    "headers",
    "withoutHeaders",
    "queryParams",
    "method",
    "authority",
    "ignoreUriCase",
    "gateways",
}
PATH_KINDS: tuple[PathKind, ...] = ("exact", "prefix", "regex")


def read_match(reader: Reader) -> RouteMatch | None:
    """None, with findings, where a condition cannot be honoured: dropping it would match more than was meant."""
    if not reader.only(MATCH_FIELDS):
        return None
    path = _path(reader.child("uri"))
    headers = _texts(reader.child("headers"))
    without = _texts(reader.child("withoutHeaders"), inverted=True)
    query = _texts(reader.child("queryParams"))
    method = _named(reader, "method", ":method")
    authority = _named(reader, "authority", ":authority")
    if path is None or headers is None or without is None or query is None or method is None or authority is None:
        return None
    ignore_case = bool(reader.data.get("ignoreUriCase"))
    return RouteMatch(*path, (*headers, *without, *method, *authority), query, ignore_case)


def read_rewrite(reader: Reader, match: RouteMatch) -> Rewrite | None:
    """As Istio does it: ``uri`` replaces what the match matched, a regular expression's match counts as the path."""
    reader.only({"uri", "uriRegexRewrite", "authority"})
    authority = reader.text("authority") or None
    by_regex = reader.child("uriRegexRewrite")
    if by_regex.data:
        by_regex.only({"match", "rewrite"})
        pattern = by_regex.regex("match")
        return None if pattern is None else Rewrite(None, pattern, by_regex.text("rewrite"), authority)
    uri = reader.text("uri")
    if not uri:
        return Rewrite(authority=authority) if authority else None
    if match.kind == "regex":
        return Rewrite(None, match.path, _literal(uri), authority)
    if match.kind == "prefix" and uri == "/" and not match.path.endswith("/"):
        # /name → / must not make //rest out of /name/rest
        return Rewrite(None, f"^{re.escape(match.path)}(/?)(.*)", r"/\2", authority)
    return Rewrite(uri, None, "", authority)


def _literal(substitution: str) -> str:
    return substitution.replace("\\", "\\\\")


def _path(reader: Reader) -> tuple[PathKind, str] | None:
    if not reader.only(PATH_KINDS):
        return None
    kind: PathKind | None = next((kind for kind in PATH_KINDS if kind in reader.data), None)
    if kind is None:
        return "prefix", "/"
    value = reader.regex(kind) if kind == "regex" else reader.text(kind)
    return None if value is None else (kind, value)


def _named(reader: Reader, key: str, header: str) -> tuple[TextMatch, ...] | None:
    child = reader.child(key)
    if not child.data:
        return ()
    match = _text(child, header)
    return None if match is None else (match,)


def _texts(reader: Reader, *, inverted: bool = False) -> tuple[TextMatch, ...] | None:
    found = [_text(reader.child(name), name, inverted=inverted) for name in sorted(reader.data)]
    kept = tuple(item for item in found if item is not None)
    return kept if len(kept) == len(found) else None


def _text(reader: Reader, name: str, *, inverted: bool = False) -> TextMatch | None:
    if not reader.only(PATH_KINDS):
        return None
    for kind in PATH_KINDS:
        if kind in reader.data:
            value = reader.regex(kind) if kind == "regex" else reader.text(kind)
            return None if value is None else TextMatch(name, kind, value, inverted)
    return TextMatch(name, "present", "", inverted)
