"""Lists: selection, pages with continue tokens, and the version a list is made at."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from slipway.contract.causes import Cause
from slipway.onebox.api.errors import Refused, bad_request, expired
from slipway.onebox.api.selectors import Predicate, parse_fields, parse_labels, predicate
from slipway.onebox.api.store import Store
from slipway.onebox.api.target import Object, Target, options_refused, parse_int, parse_version

CONTINUE_KIND = "meta.k8s.io/v1"
COMPACTED = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."


@dataclass(frozen=True)
class Page:
    """Stored objects; ``remaining`` is None where it is not told."""

    items: list[Object]
    version: int
    token: str = ""
    remaining: int | None = None


def selection(target: Target, query: Mapping[str, str]) -> Predicate | None:
    """The query's selectors. Refused 400."""
    labels = parse_labels(query.get("labelSelector", ""))
    fields = parse_fields(
        query.get("fieldSelector", ""), known=target.resource.known_fields, is_custom=target.resource.is_custom
    )
    base = predicate(labels, fields)
    if base is None or not target.resource.stored_as:
        return base
    return lambda obj: base(target.version.dump(dict(obj)))


def check_match(query: Mapping[str, str], *, is_watch: bool) -> None:
    """The rules of ``resourceVersionMatch`` and ``sendInitialEvents``. Refused 422."""
    match, initial = query.get("resourceVersionMatch", ""), query.get("sendInitialEvents", "")
    version = query.get("resourceVersion", "")
    message = field = ""
    if is_watch and initial == "true" and match != "NotOlderThan":
        field, message = "sendInitialEvents", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes = [Cause("resourceVersionMatch", f"Forbidden: {message}", "FieldValueForbidden")]
        raise options_refused("ListOptions", causes)
    if is_watch and match and not initial:
        field, message = (
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )
    elif not is_watch and match and not version:
        field, message = "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
    elif not is_watch and match == "Exact" and version == "0":
        field, message = "resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
    if field:
        raise options_refused("ListOptions", [Cause(field, f"Forbidden: {message}", "FieldValueForbidden")])


def list_page(store: Store, target: Target, query: Mapping[str, str]) -> Page:
    """One page. Refused 400 for a bad query, 410 where its version is gone."""
    check_match(query, is_watch=False)
    matches = selection(target, query)
    limit = max(0, parse_int(query["limit"])) if query.get("limit") else 0
    token, version = query.get("continue", ""), query.get("resourceVersion", "")
    asked = parse_version(version)
    start = ""
    at = store.version
    if token:
        if version and version != "0":
            raise bad_request("specifying resource version is not allowed when using continue")
        at, start = _read_token(token)
        if at < 0:
            at = store.version
        elif at < store.oldest:
            raise expired(COMPACTED, token=_token(-1, start.lstrip("/")))
    elif query.get("resourceVersionMatch") == "Exact" or (asked and limit and not query.get("resourceVersionMatch")):
        at = asked
        if at < store.oldest:
            raise expired("The resourceVersion for the provided list is too old.")
    rows = _rows(store, target, at)
    rows = [(key, obj) for key, obj in rows if key >= start.lstrip("/")] if start else rows
    chosen = [(key, obj) for key, obj in rows if matches is None or matches(obj)]
    page = chosen[:limit] if limit else chosen
    if len(page) == len(chosen):
        return Page([obj for _, obj in page], at)
    slash = "" if token else "/"
    remaining = len(chosen) - len(page) if matches is None else None
    return Page([obj for _, obj in page], at, _token(at, f"{slash}{page[-1][0]}\0"), remaining)


def _rows(store: Store, target: Target, version: int) -> list[tuple[str, Object]]:
    storage = target.resource.storage
    objects = store.all(storage) if version >= store.version else store.at(version, storage)
    rows = []
    for (namespace, name), obj in objects.items():
        if target.namespace and namespace != target.namespace:
            continue
        rows.append((name if target.namespace or not namespace else f"{namespace}/{name}", obj))
    return sorted(rows, key=lambda row: row[0])


def _token(version: int, start: str) -> str:
    raw = json.dumps({"v": CONTINUE_KIND, "rv": version, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        data = json.loads(raw)
        return int(data["rv"]), str(data["start"])
    except (ValueError, KeyError, TypeError, binascii.Error) as exc:
        try:
            first = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[:1].decode("latin-1")
        except (ValueError, binascii.Error):
            first = token[:1]
        message = f"invalid continue token: continue key is not valid: invalid character '{first}' looking for beginning of value"
        raise bad_request(message) from exc


def too_large(asked: int, current: int) -> Refused:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return Refused(
        504,
        f"Timeout: Too large resource version: {asked}, current: {current}",
        reason="Timeout",
        details={"causes": causes, "retryAfterSeconds": 1},
    )
