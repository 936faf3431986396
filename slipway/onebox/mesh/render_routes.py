"""Virtual hosts → Envoy's RouteConfiguration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from slipway.contract import headers
from slipway.contract.callers import Caller
from slipway.contract.errors import NO_READY_PREDICTOR
from slipway.onebox.mesh import limits
from slipway.onebox.mesh.access_log import log_metadata
from slipway.onebox.mesh.gateways import HTTPS_PORT
from slipway.onebox.mesh.ir import (
    DirectResponse,
    HeaderChanges,
    Mirror,
    Retries,
    Rewrite,
    Route,
    RouteMatch,
    TextMatch,
    VirtualHost,
)
from slipway.onebox.mesh.render_clusters import duration
from slipway.onebox.mesh.render_filters import counted_for, host_filters, route_filters
from slipway.onebox.mesh.replies import DESTINATION_NOT_FOUND, JSON, NOTHING_READY, LocalReply

ROUTES_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
_PREVIOUS_HOSTS = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
RESETS = frozenset({"5xx", "gateway-error", "reset"})
"""Conditions of ``retry_on`` that hold for a connection that ends without an answer."""
_GRPC_CALL = TextMatch("content-type", "prefix", "application/grpc")
_NOT_READY = LocalReply(NO_READY_PREDICTOR, NOTHING_READY, 503)


def render_routes(name: str, hosts: Iterable[VirtualHost]) -> dict[str, Any]:
    """The RouteConfiguration of the gateway."""
    return {
        "@type": ROUTES_TYPE,
        "name": name,
        "virtual_hosts": [_virtual_host(host) for host in hosts],
        "validate_clusters": False,  # clusters come first and go last; a missing one is a 503, not a refused update
        "max_direct_response_body_size_bytes": limits.MAX_PAGE_BYTES,
    }


def retry_policy(retries: Retries) -> dict[str, Any]:
    """Envoy's RetryPolicy; the share of retries is bounded by each cluster's budget."""
    policy: dict[str, Any] = {
        "retry_on": ",".join(retries.on),
        "num_retries": retries.attempts,
        "per_try_timeout": duration(retries.per_try_timeout_s),
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"type.googleapis.com/{_PREVIOUS_HOSTS}"},
            }
        ],
        "host_selection_retry_max_attempts": limits.RETRY_HOST_ATTEMPTS,
        "retry_back_off": {
            "base_interval": duration(limits.RETRY_BACKOFF_S),
            "max_interval": duration(limits.RETRY_BACKOFF_MAX_S),
        },
    }
    if "retriable-status-codes" in retries.on:
        policy["retriable_status_codes"] = list(retries.status_codes)
    return policy


def _virtual_host(host: VirtualHost) -> dict[str, Any]:
    return {
        "name": host.name,
        "domains": list(host.domains),
        "request_body_buffer_limit": limits.RETRY_BUFFER_BYTES,
        "routes": [_route(item) for route in host.routes for item in _by_protocol(route)],
        **host_filters(host),
    }


def _by_protocol(route: Route) -> tuple[Route, ...]:
    """What has no Service has no protocol: gRPC calls are told in theirs."""
    if not route.absent:
        return (route,)
    match = replace(route.match, headers=(*route.match.headers, _GRPC_CALL))
    return replace(route, match=match, is_grpc=True), route


def _route(route: Route) -> dict[str, Any]:
    namespace, deployment = route.deployment
    known = log_metadata(namespace=namespace, deployment=deployment, **counted_for(route))
    resource: dict[str, Any] = {"name": route.name, "match": _match(route.match), **known}
    if route.https_port is not None:
        return {**resource, "redirect": _to_https(route.https_port)}
    if route.direct:
        return {**resource, **_direct(route.direct)}
    if not route.destinations:
        resource |= _direct(_nobody(route))
    else:
        resource["route"] = _action(route)
        resource |= _header_changes(_request_headers(route), "request")
        resource |= _header_changes(route.response_headers, "response")
    return {**resource, **route_filters(route)}


def _nobody(route: Route) -> DirectResponse:
    """Envoy makes a gRPC status of it, and the body its message."""
    reply = LocalReply(DESTINATION_NOT_FOUND, route.absent, 503) if route.absent else _NOT_READY
    body = reply.info if route.is_grpc else reply.body
    return DirectResponse(503, JSON, body, headers=((headers.REASON, reply.reason),))


def _request_headers(route: Route) -> HeaderChanges:
    """Only what this route tries again after a reset may be tried again where the activator ends: no feedback, say."""
    if not route.wakes or route.retries is None or not RESETS.intersection(route.retries.on):
        return route.request_headers
    return replace(route.request_headers, set=(*route.request_headers.set, (headers.REPEATABLE, "true")))


def _to_https(port: int) -> dict[str, Any]:
    """301 to the same host and path."""
    return {"https_redirect": True, **({} if port == HTTPS_PORT else {"port_redirect": port})}


def _match(match: RouteMatch) -> dict[str, Any]:
    resource: dict[str, Any] = {}
    if match.kind == "regex":
        resource["safe_regex"] = {"regex": match.path}
    else:
        resource["path" if match.kind == "exact" else "prefix"] = match.path
        if match.ignore_case:
            resource["case_sensitive"] = False
    if match.headers:
        resource["headers"] = [_header(item) for item in match.headers]
    if match.query:
        resource["query_parameters"] = [_query(item) for item in match.query]
    return resource


def _header(item: TextMatch) -> dict[str, Any]:
    inverted = {"invert_match": True} if item.inverted else {}
    condition = {"present_match": True} if item.kind == "present" else {"string_match": _string(item)}
    return {"name": item.name, **condition, **inverted}


def _query(item: TextMatch) -> dict[str, Any]:
    return {
        "name": item.name,
        **({"present_match": True} if item.kind == "present" else {"string_match": _string(item)}),
    }


def _string(item: TextMatch) -> dict[str, Any]:
    return {"safe_regex": {"regex": item.value}} if item.kind == "regex" else {item.kind: item.value}


def _action(route: Route) -> dict[str, Any]:
    action: dict[str, Any] = {"timeout": duration(route.timeout_s)}
    if len(route.destinations) == 1:
        action["cluster"] = route.destinations[0].cluster
    else:
        weights = [{"name": item.cluster, "weight": item.weight} for item in route.destinations]
        action["weighted_clusters"] = {"clusters": weights, **({"use_hash_policy": True} if route.sticky else {})}
    if route.sticky:
        action["hash_policy"] = [_hash_policy(route.sticky)]
    if route.retries:
        action["retry_policy"] = retry_policy(route.retries)
    if route.mirrors:
        action["request_mirror_policies"] = [_mirror(item) for item in route.mirrors]
    if route.rewrite:
        action |= _rewrite(route.rewrite)
    return action


def _hash_policy(caller: Caller) -> dict[str, Any]:
    """xxHash64 of the value, modulo the sum of the weights, chooses among them; by chance where there is no value."""
    if caller.source == "header":
        return {"header": {"header_name": caller.name}}
    return {"cookie": {"name": caller.name}}


def _mirror(mirror: Mirror) -> dict[str, Any]:
    share = {"numerator": round(mirror.percent * 10_000), "denominator": "MILLION"}
    return {"cluster": mirror.cluster, "runtime_fraction": {"default_value": share}}


def _rewrite(rewrite: Rewrite) -> dict[str, Any]:
    resource: dict[str, Any] = {}
    if rewrite.prefix is not None:
        resource["prefix_rewrite"] = rewrite.prefix
    if rewrite.regex is not None:
        resource["regex_rewrite"] = {"pattern": {"regex": rewrite.regex}, "substitution": rewrite.substitution}
    if rewrite.authority is not None:
        resource["host_rewrite_literal"] = rewrite.authority
    return resource


def _header_changes(changes: HeaderChanges, side: str) -> dict[str, Any]:
    values = [(pair, "OVERWRITE_IF_EXISTS_OR_ADD") for pair in changes.set]
    values += [(pair, "APPEND_IF_EXISTS_OR_ADD") for pair in changes.add]
    resource: dict[str, Any] = {}
    if values:
        resource[f"{side}_headers_to_add"] = [_set_header(pair, action) for pair, action in values]
    if changes.remove:
        resource[f"{side}_headers_to_remove"] = list(changes.remove)
    return resource


def _set_header(pair: tuple[str, str], action: str) -> dict[str, Any]:
    return {"header": {"key": pair[0], "value": pair[1]}, "append_action": action}


def _direct(direct: DirectResponse) -> dict[str, Any]:
    body = {"filename": direct.file} if direct.file else {"inline_string": direct.body}
    values = (("content-type", direct.content_type), *direct.headers)
    return {
        "direct_response": {"status": direct.status, "body": body},
        "response_headers_to_add": [_set_header(pair, "OVERWRITE_IF_EXISTS_OR_ADD") for pair in values],
    }
