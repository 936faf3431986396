"""The gateway's HTTP filters, and what single routes and hosts set of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.onebox.mesh import limits
from slipway.onebox.mesh.access_log import NAMESPACE
from slipway.onebox.mesh.ir import Fault, RateLimit, Route, VirtualHost
from slipway.onebox.mesh.ir_security import JwtRule
from slipway.onebox.mesh.layout import ENVOYS
from slipway.onebox.mesh.render_clusters import duration
from slipway.onebox.mesh.render_security import guard_filters, guards_of_host

_TYPES = "type.googleapis.com/envoy.extensions"
_FILTERS = f"{_TYPES}.filters.http"
BUFFER, FAULT, RATE_LIMIT = (f"envoy.filters.http.{name}" for name in ("buffer", "fault", "local_ratelimit"))
_KEY = "virtual_service"
_NO_BUFFER = {"@type": f"{_FILTERS}.buffer.v3.BufferPerRoute", "disabled": True}
_OF_ROUTE = {
    "descriptor_key": _KEY,
    "metadata_key": {"key": NAMESPACE, "path": [{"key": _KEY}]},
    "source": "ROUTE_ENTRY",
}
GRPC_TYPES = "application/grpc.*"
_WHOLE = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def render_filters(jwt_rules: tuple[JwtRule, ...]) -> list[dict[str, Any]]:
    """In their order: what refuses comes before a body is read."""
    guards = guard_filters(jwt_rules)
    return [
        strip_filter("x-slipway-", "x-envoy-"),
        *guards,
        _rate_limit_default(),
        _fault_default(),
        buffer_filter(),
        router_filter(),
    ]


def router_filter() -> dict[str, Any]:
    return {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_FILTERS}.router.v3.Router"}}


def host_filters(host: VirtualHost) -> dict[str, Any]:
    """What all routes of a host share: who may pass, and how many."""
    found = {**guards_of_host(host.policies), **_limits(host.routes)}
    return {"typed_per_filter_config": found} if found else {}


def _limits(routes: Iterable[Route]) -> dict[str, Any]:
    """One bucket of tokens for all routes of each VirtualService; it is new, and full, whenever the routes change."""
    rates = {owner_of(route): route.rate_limit for route in routes if route.rate_limit}
    if not rates:
        return {}
    config = {
        "@type": f"{_FILTERS}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "gateway",
        "filter_enabled": _WHOLE,
        "filter_enforced": _WHOLE,
        "token_bucket": {
            "max_tokens": limits.MAX_NUMBER,
            "tokens_per_fill": limits.MAX_NUMBER,
            "fill_interval": duration(1),
        },
        "always_consume_default_token_bucket": False,
        "rate_limited_as_resource_exhausted": True,
        "rate_limits": [{"actions": [{"metadata": _OF_ROUTE}]}],
        "descriptors": [
            {"entries": [{"key": _KEY, "value": owner}], "token_bucket": token_bucket(limit)}
            for owner, limit in sorted(rates.items())
        ],
    }
    return {RATE_LIMIT: config}


def token_bucket(limit: RateLimit) -> dict[str, Any]:
    """One Envoy's part: as all of them count alone, and connections are dealt out to them, each has its share."""
    tokens = -(-limit.count // len(ENVOYS))
    every_s = limit.period_s * tokens * len(ENVOYS) / limit.count
    return {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": duration(every_s)}


def route_filters(route: Route) -> dict[str, Any]:
    """What one route sets; a gRPC stream is not held until it is whole."""
    found: dict[str, Any] = {BUFFER: _NO_BUFFER} if route.is_grpc else {}
    if route.fault:
        found[FAULT] = _fault(route.fault)
    return {"typed_per_filter_config": found} if found else {}


def counted_for(route: Route) -> dict[str, str]:
    """What a route's metadata say of the limit it counts for."""
    return {_KEY: owner_of(route)} if route.rate_limit else {}


def owner_of(route: Route) -> str:
    """``namespace/name`` of its VirtualService."""
    return "/".join(route.name.split("/")[:2])


def strip_filter(*prefixes: str) -> dict[str, Any]:
    """Clients may speak neither for the platform nor to Envoy: headers of theirs that begin so end here."""
    mutations = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in prefixes]
    return {
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": f"{_FILTERS}.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": mutations},
        },
    }


def buffer_filter(*, but_grpc: bool = False) -> dict[str, Any]:
    """Receives a whole body before anybody sees its request, and answers 413 where it is too long.

    Not the body that announces a length within the limit: its request goes on at once, so that an executor that has no
    place for it refuses it before the body is read. The router keeps what has passed, for retries and mirrors. Nor what
    follows a CONNECT, which has no end: no route takes one.
    ``but_grpc``: nor that of a gRPC call, where no route of its own says so.
    """
    buffer = {"@type": f"{_FILTERS}.buffer.v3.Buffer", "max_request_bytes": MAX_BODY_BYTES}
    skip = {"@type": f"{_TYPES}.filters.common.matcher.action.v3.SkipFilter"}
    regexes = {"content-length": limits.STREAMED_LENGTHS, ":method": "CONNECT"}
    regexes |= {"content-type": GRPC_TYPES} if but_grpc else {}
    matchers = [
        {"predicate": _header(name, regex), "on_match": {"action": {"name": "skip", "typed_config": skip}}}
        for name, regex in regexes.items()
    ]
    config = {
        "@type": f"{_TYPES}.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": BUFFER, "typed_config": buffer},
        "xds_matcher": {"matcher_list": {"matchers": matchers}},
    }
    return {"name": BUFFER, "typed_config": config}


def _header(name: str, regex: str) -> dict[str, Any]:
    """Matches a request whose header is wholly what the expression says."""
    kind = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
    header = {"name": name, "typed_config": {"@type": kind, "header_name": name}}
    return {
        "single_predicate": {
            "input": header,
            "value_match": {"safe_regex": {"google_re2": {}, "regex": regex}},
        }
    }


def _rate_limit_default() -> dict[str, Any]:
    config = {"@type": f"{_FILTERS}.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "gateway"}
    return {"name": RATE_LIMIT, "typed_config": config}


def _fault_default() -> dict[str, Any]:
    return {"name": FAULT, "typed_config": {"@type": f"{_FILTERS}.fault.v3.HTTPFault"}}


def _fault(fault: Fault) -> dict[str, Any]:
    config: dict[str, Any] = {"@type": f"{_FILTERS}.fault.v3.HTTPFault"}
    if fault.delay_s:
        config["delay"] = {"fixed_delay": duration(fault.delay_s), "percentage": _percent(fault.delay_percent)}
    if fault.abort_percent:
        key, status = ("http_status", fault.http_status) if fault.http_status else ("grpc_status", fault.grpc_status)
        config["abort"] = {key: status, "percentage": _percent(fault.abort_percent)}
    return config


def _percent(percent: float) -> dict[str, Any]:
    return {"numerator": round(percent * 10_000), "denominator": "MILLION"}
