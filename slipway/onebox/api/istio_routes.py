"""VirtualServices: what Istio's webhook refuses of one by itself (pkg/config/validation). Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from slipway.onebox.api.istio_fields import (
    DNS_LABEL,
    duration,
    each,
    host,
    mapping,
    percent,
    port,
    regex,
    rows,
    shown,
    subset_name,
)

Part = Mapping[str, Any]
HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CLAIM = "@request.auth.claims"
TEXT_MATCHES = ("uri", "scheme", "method", "authority")
NAMED_MATCHES = ("headers", "withoutHeaders", "queryParams")
ANSWERS = ("route", "redirect", "directResponse", "delegate")
MAX_REGEXES = 32
"""Of one object that are read; the mesh reads the others."""


def virtual_service(obj: Part) -> Iterator[str]:
    """In the order of the fields; regular expressions last."""
    spec = mapping(obj.get("spec"))
    yield from _hosts(spec)
    yield from _gateways(spec, "gateways")
    if not any(rows(spec, kind) for kind in ("http", "tcp", "tls")):
        yield "http, tcp or tls must be provided in virtual service"
    for path, http in each(spec, "http"):
        yield from _http(http, path)
    for kind in ("tls", "tcp"):
        for path, route in each(spec, kind):
            if not rows(route, "route"):
                yield f"{path}: {kind.upper()} route is required"
            yield from _destinations(route, path)
    for value, path in itertools.islice(_regexes(spec), MAX_REGEXES):
        yield from regex(value, path)


def _hosts(spec: Part) -> Iterator[str]:
    hosts = [str(item) for item in rows(spec, "hosts")]
    gateways = rows(spec, "gateways")
    if not hosts:
        for field, words in (("gateways", "gateways"), ("tls", "tls route"), ("tcp", "tcp route")):
            if rows(spec, field):
                yield f"{field}: delegate virtual service must have no {words} specified"
    seen: set[str] = set()
    for index, name in enumerate(hosts):
        path = f"hosts[{index}]"
        yield from host(name, path)
        if name == "*" and (not gateways or "mesh" in gateways):
            yield f"{path}: wildcard host * is not allowed for virtual services bound to the mesh gateway"
        if name.lower() in seen:
            yield f"{path}: duplicate hosts in virtual service: {shown(name)}"
        seen.add(name.lower())


def _gateways(owner: Part, path: str) -> Iterator[str]:
    for index, item in enumerate(rows(owner, "gateways")):
        namespace, found, name = str(item).partition("/")
        if not found:
            yield from host(item, f"{path}[{index}]")
        elif not DNS_LABEL.fullmatch(namespace):
            yield f"{path}[{index}]: invalid value for namespace: {shown(namespace)}"
        elif not DNS_LABEL.fullmatch(name):
            yield f"{path}[{index}]: invalid value for gateway name: {shown(name)}"


def _http(http: Part, path: str) -> Iterator[str]:
    if not any(http.get(name) for name in ANSWERS):
        yield f"{path}: HTTP route, redirect or direct_response is required"
    if http.get("redirect"):
        for other in ("route", "fault", "rewrite"):
            if http.get(other):
                yield f"{path}: HTTP route cannot contain both {other} and redirect"
    for at, match in each(http, "match", path):
        yield from _gateways(match, f"{at}.gateways")
        for part in ("headers", "withoutHeaders"):
            for name in mapping(match.get(part)):
                if not HEADER.fullmatch(name) and not name.startswith(CLAIM):
                    yield f"{at}.{part}: header name {shown(name)} is not a valid header name"
    yield from _header_changes(http, path)
    yield from _destinations(http, path)
    yield from _mirrors(http, path)
    yield from _fault(mapping(http.get("fault")), f"{path}.fault")
    yield from _rewrite(http, path)
    yield from _retries(mapping(http.get("retries")), f"{path}.retries")
    yield from duration(http.get("timeout"), f"{path}.timeout")


def _header_changes(owner: Part, path: str) -> Iterator[str]:
    headers = mapping(owner.get("headers"))
    for side in ("request", "response"):
        change = mapping(headers.get(side))
        names = [*mapping(change.get("set")), *mapping(change.get("add")), *rows(change, "remove")]
        for name in names:
            if not name:
                yield f"{path}.headers.{side}: header name cannot be empty"
            elif str(name).startswith(":") and (side, str(name).lower()) != ("request", ":authority"):
                yield f'{path}.headers.{side}: invalid header {shown(name)}: header cannot have ":" prefix'


def _destinations(owner: Part, path: str) -> Iterator[str]:
    """The weighted destinations of a route: any sum is taken but 0."""
    found = list(each(owner, "route", path))
    for at, item in found:
        if not isinstance(item.get("destination"), Mapping):
            yield f"{at}: destination is required"
        else:
            yield from _destination(item["destination"], f"{at}.destination")
        if isinstance(weight := item.get("weight"), int) and weight < 0:
            yield f"{at}: weight {weight} < 0"
        yield from _header_changes(item, at)
    if len(found) > 1 and not any(item.get("weight") for _, item in found):
        yield f"{path}.route: total destination weight = 0"


def _destination(part: Part, path: str) -> Iterator[str]:
    if part.get("host") == "*":
        yield f"{path}.host: invalid destination host *"
    else:
        yield from host(part.get("host") or "", f"{path}.host")
    if part.get("subset"):
        yield from subset_name(part["subset"], f"{path}.subset")
    if isinstance(chosen := part.get("port"), Mapping):
        yield from port(chosen.get("number"), f"{path}.port")


def _mirrors(http: Part, path: str) -> Iterator[str]:
    if isinstance(one := http.get("mirror"), Mapping):
        yield from _destination(one, f"{path}.mirror")
    yield from percent(mapping(http.get("mirrorPercentage")).get("value"), f"{path}.mirrorPercentage")
    for at, mirror in each(http, "mirrors", path):
        if not isinstance(mirror.get("destination"), Mapping):
            yield f"{at}: destination is required for mirrors"
        else:
            yield from _destination(mirror["destination"], f"{at}.destination")
        yield from percent(mapping(mirror.get("percentage")).get("value"), f"{at}.percentage")


def _fault(fault: Part, path: str) -> Iterator[str]:
    for name in ("abort", "delay"):
        yield from percent(
            mapping(mapping(fault.get(name)).get("percentage")).get("value"), f"{path}.{name}.percentage"
        )
    status = mapping(fault.get("abort")).get("httpStatus")
    if isinstance(status, int) and not 200 <= status <= 600:
        yield f"{path}.abort: HTTP status {status} is not in range 200-599"
    yield from duration(mapping(fault.get("delay")).get("fixedDelay"), f"{path}.delay.fixedDelay")


def _rewrite(http: Part, path: str) -> Iterator[str]:
    rewrite = http.get("rewrite")
    if not isinstance(rewrite, Mapping):
        return
    if rewrite.get("uri") and rewrite.get("uriRegexRewrite"):
        yield f"{path}.rewrite: rewrite may only contain one of URI or UriRegexRewrite"
    if not any(rewrite.get(name) for name in ("uri", "uriRegexRewrite", "authority")):
        yield f"{path}.rewrite: rewrite must specify at least one of URI, UriRegexRewrite, or authority"


def _retries(retries: Part, path: str) -> Iterator[str]:
    attempts = retries.get("attempts") or 0
    if isinstance(attempts, int) and attempts < 0:
        yield f"{path}: attempts cannot be negative"
    if attempts == 0 and any(retries.get(name) for name in ("perTryTimeout", "retryOn", "retryRemoteLocalities")):
        yield f"{path}: http retry policy configured when attempts are set to 0 (disabled)"
    yield from duration(retries.get("perTryTimeout"), f"{path}.perTryTimeout")


def _regexes(spec: Part) -> Iterator[tuple[Any, str]]:
    for path, http in each(spec, "http"):
        for at, match in each(http, "match", path):
            for name in TEXT_MATCHES:
                if "regex" in (found := mapping(match.get(name))):
                    yield found["regex"], f"{at}.{name}"
            for group in NAMED_MATCHES:
                for key, one in mapping(match.get(group)).items():
                    if "regex" in mapping(one):
                        yield one["regex"], f"{at}.{group}[{shown(key)}]"
        if "match" in (by_regex := mapping(mapping(http.get("rewrite")).get("uriRegexRewrite"))):
            yield by_regex["match"], f"{path}.rewrite.uriRegexRewrite"
