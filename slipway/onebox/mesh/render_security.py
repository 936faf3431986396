"""Tokens and rules → Envoy's filters `jwt_authn` and `rbac`, as Istio arranges them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from slipway.onebox.mesh import limits
from slipway.onebox.mesh.ir_security import Action, Condition, Conditions, JwtRule, Policy
from slipway.onebox.mesh.render_clusters import duration

_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_JWT_FILTER = "envoy.filters.http.jwt_authn"
_RBAC: Mapping[Action, str] = {"DENY": "envoy.filters.http.rbac.deny", "ALLOW": "envoy.filters.http.rbac.allow"}
_PAYLOAD = "payload"
_ANY, _NONE = {"any": True}, {"not_id": {"any": True}}


def guard_filters(jwt_rules: tuple[JwtRule, ...]) -> list[dict[str, Any]]:
    """The listener's filters in their order: tokens, denials, permissions; the last two have their rules from the hosts."""
    rbac = {"@type": f"{_FILTERS}.rbac.v3.RBAC"}
    found = [_jwt(jwt_rules)] if jwt_rules else []
    return [*found, *({"name": name, "typed_config": rbac} for name in _RBAC.values())]


def guards_of_host(policies: tuple[Policy, ...]) -> dict[str, Any]:
    """What a virtual host sets of them: a changed policy holds for the next request of open connections, too."""
    by_action = {action: [policy for policy in policies if policy.action == action] for action in _RBAC}
    return {
        _RBAC[action]: {"@type": f"{_FILTERS}.rbac.v3.RBACPerRoute", "rbac": {"rules": _rules(action, found)}}
        for action, found in by_action.items()
        if found
    }


def _jwt(rules: tuple[JwtRule, ...]) -> dict[str, Any]:
    """A token that is there must be valid; a request without one goes on, and has no claims."""
    providers = {f"issuer-{index}": _provider(rule) for index, rule in enumerate(rules)}
    requirements = [*({"provider_name": name} for name in providers), {"allow_missing": {}}]
    config = {
        "@type": f"{_FILTERS}.jwt_authn.v3.JwtAuthentication",
        "providers": providers,
        "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": requirements}}}],
        "bypass_cors_preflight": True,
    }
    return {"name": _JWT_FILTER, "typed_config": config}


def _provider(rule: JwtRule) -> dict[str, Any]:
    found: dict[str, Any] = {
        "issuer": rule.issuer,
        **_keys(rule),
        "payload_in_metadata": _PAYLOAD,
        "forward": rule.forwards,
    }
    given = {
        "audiences": list(rule.audiences),
        "from_headers": [{"name": name, "value_prefix": prefix} for name, prefix in rule.headers],
        "from_params": list(rule.params),
        "from_cookies": list(rule.cookies),
        "forward_payload_header": rule.payload_header,
        "claim_to_headers": [{"header_name": name, "claim_name": claim} for name, claim in rule.claim_headers],
    }
    return found | {key: value for key, value in given.items() if value}


def _keys(rule: JwtRule) -> dict[str, Any]:
    """Fetched in the background by an Envoy that serves meanwhile: until then tokens of the issuer are refused."""
    if rule.source is None:
        return {"local_jwks": {"inline_string": rule.jwks}}
    where = {"uri": rule.source.uri, "cluster": rule.source.cluster, "timeout": duration(rule.source.timeout_s)}
    fetch = {"fast_listener": True, "failed_refetch_duration": duration(limits.KEYS_RETRY_S)}
    return {"remote_jwks": {"http_uri": where, "cache_duration": duration(limits.KEYS_CACHE_S), "async_fetch": fetch}}


def _rules(action: Action, policies: list[Policy]) -> dict[str, Any]:
    rendered = {
        f"{policy.name}/{index}": {
            "principals": [_all(source, "ids", _principal) for source in rule.sources],
            "permissions": [_all(operation, "rules", _permission) for operation in rule.operations],
        }
        for policy in policies
        for index, rule in enumerate(policy.rules)
    }
    return {"action": action, "policies": rendered}


def _all(conditions: Conditions, field: str, render: Any) -> dict[str, Any]:
    return {f"and_{field}": {field: [render(item) for item in conditions]}} if conditions else _ANY


def _principal(condition: Condition) -> dict[str, Any]:
    if condition.kind == "never":
        return _NONE
    any_of = {"or_ids": {"ids": [item for value in condition.values for item in _identities(condition, value)]}}
    return {"not_id": any_of} if condition.negated else any_of


def _identities(condition: Condition, value: str) -> list[dict[str, Any]]:
    if condition.kind in ("direct_ip", "remote_ip"):
        return [{"direct_remote_ip" if condition.kind == "direct_ip" else "remote_ip": _block(value)}]
    if condition.kind == "header":
        return [{"header": _header(condition.key, value)}]
    if condition.key == "iss/sub":
        issuer, _, subject = ("*", "", "*") if value == "*" else value.rpartition("/")
        return [{"and_ids": {"ids": [_claim("iss", _text(issuer)), _claim("sub", _text(subject))]}}]
    matches = ({"string_match": _string(value)}, {"list_match": {"one_of": {"string_match": _string(value)}}})
    return [_claim(condition.key, match) for match in matches]


def _permission(condition: Condition) -> dict[str, Any]:
    if condition.kind == "never":
        return {"not_rule": _ANY}
    rules = [
        {"url_path": {"path": _string(value)}}
        if condition.kind == "path"
        else {"header": _header(condition.key, value)}
        for value in condition.values
    ]
    any_of = {"or_rules": {"rules": rules}}
    return {"not_rule": any_of} if condition.negated else any_of


def _claim(path: str, match: dict[str, Any]) -> dict[str, Any]:
    keys = [{"key": _PAYLOAD}, *({"key": part} for part in path.split("\t"))]
    matcher = {"filter": _JWT_FILTER, "path": keys, "value": match}
    return {"sourced_metadata": {"metadata_matcher": matcher, "metadata_source": "DYNAMIC"}}


def _text(value: str) -> dict[str, Any]:
    return {"string_match": _string(value)}


def _header(name: str, value: str) -> dict[str, Any]:
    ignoring = {"ignore_case": True} if name == ":authority" else {}
    return {"name": name, "string_match": {**_string(value), **(ignoring if value != "*" else {})}}


def _string(value: str) -> dict[str, Any]:
    """``*`` is any text that is not empty."""
    if value == "*":
        return {"safe_regex": {"regex": ".+"}}
    if value.startswith("*"):
        return {"suffix": value[1:]}
    return {"prefix": value[:-1]} if value.endswith("*") else {"exact": value}


def _block(value: str) -> dict[str, Any]:
    network = ipaddress.ip_network(value, strict=False)
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}
