"""RequestAuthentications of the gateway → which tokens are valid. A request without any token is not refused here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.ir import Finding
from slipway.onebox.mesh.ir_security import JwtRule
from slipway.onebox.mesh.jwks import NoKeys, parse_jwks, unreadable_keys
from slipway.onebox.mesh.key_sources import NotFetched, key_source
from slipway.onebox.mesh.limits import KEY_FETCH_TIMEOUT_S, MAX_KEY_FETCH_TIMEOUT_S, MAX_KEY_SOURCES
from slipway.onebox.mesh.services import Key, Service

GATEWAY_NAMESPACE = "istio-system"
GATEWAY_LABELS = {"istio": "ingressgateway", "app": "istio-ingressgateway"}
NOBODY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "alg": "EdDSA",
    "use": "sig",
    "x": "6ANBypmpdbDhHHSkia8tvhdJYzkEOz_bUxS1G30Ftvg",
}
"""A public key whose private one was never kept. Envoy refuses the whole listener where an issuer has no key that it can
read; with this one more such an issuer's tokens are refused instead."""
NO_KEYS = json.dumps({"keys": [NOBODY]})
REFUSED = "no token of this issuer is valid"
JWT_FIELDS = {
    "issuer", "audiences", "jwks", "jwksUri", "jwks_uri", "timeout", "fromHeaders", "fromParams", "fromCookies", "forwardOriginalToken",
    "outputPayloadToHeader", "outputClaimToHeaders",
}  # fmt: skip
Object = Mapping[str, Any]


def read_authentications(
    objects: Iterable[Object], findings: list[Finding], *, services: Mapping[Key, Service], trusted: str
) -> tuple[JwtRule, ...]:
    """By name. Of two rules of one issuer the first counts, as Envoy takes one. ``trusted``: as ``key_source``."""
    rules: dict[str, JwtRule] = {}
    for item in sorted(objects, key=lambda one: str(one["metadata"]["name"])):
        reader = Reader.of(item, findings)
        reader.only({"selector", "jwtRules"})
        if not is_about_the_gateway(reader):
            continue
        for child in reader.children("jwtRules"):
            rule = _fetched(child, _rule(child), services, trusted)
            if rule.issuer in rules:
                reader.report("jwtRules", f"{rule.issuer!r} has a rule already: this one has no effect")
                continue
            if (
                rule.source
                and len({item.source.cluster for item in rules.values() if item.source} | {rule.source.cluster})
                > MAX_KEY_SOURCES
            ):
                child.elsewhere("jwksUri", f"keys are fetched from {MAX_KEY_SOURCES} hosts already: {REFUSED}")
                rule = replace(rule, source=None)
            rules[rule.issuer] = rule
    return tuple(rules.values())


def is_about_the_gateway(reader: Reader) -> bool:
    """In its namespace, and for it or for everything there; others are about Pods, whose traffic is not intercepted here."""
    labels = reader.child("selector").child("matchLabels").data
    is_here = all(GATEWAY_LABELS.get(str(key)) == value for key, value in labels.items())
    if reader.namespace == GATEWAY_NAMESPACE and is_here:
        return True
    where = f"namespace {GATEWAY_NAMESPACE}, selector istio: ingressgateway"
    reader.elsewhere("selector", f"only the gateway's are carried out on one machine: {where}")
    return False


def _rule(reader: Reader) -> JwtRule:
    """As in Istio, the rule of no issuer is that of every token that its fetched keys have signed."""
    reader.only(JWT_FIELDS)
    headers = [(item.header_name("name"), item.text("prefix")) for item in reader.children("fromHeaders")]
    claims = [(item.header_name("header"), item.text("claim")) for item in reader.children("outputClaimToHeaders")]
    is_whole = bool(reader.text("issuer")) or (bool(_uri(reader)) and not reader.data.get("jwks"))
    if not is_whole:
        reader.report("issuer", "is missing: say what its tokens have in `iss`: no token is valid by this rule")
    return JwtRule(
        issuer=reader.text("issuer")
        if is_whole
        else f"{reader.path} of {reader.name}",  # no token's, and not every one's
        jwks=_keys(reader) if is_whole else NO_KEYS,
        audiences=_texts(reader, "audiences"),
        headers=tuple(pair for pair in headers if pair[0]),
        params=_texts(reader, "fromParams"),
        cookies=_texts(reader, "fromCookies"),
        forwards=reader.data.get("forwardOriginalToken") is True,
        payload_header=reader.header_name("outputPayloadToHeader"),
        claim_headers=tuple(pair for pair in claims if all(pair)),
    )


def _texts(reader: Reader, key: str) -> tuple[str, ...]:
    return tuple(str(item) for item in reader.items(key))


def _uri(reader: Reader) -> str:
    return reader.text("jwksUri") or reader.text("jwks_uri")


def _fetched(reader: Reader, rule: JwtRule, services: Mapping[Key, Service], trusted: str) -> JwtRule:
    uri = _uri(reader)
    if not uri or reader.data.get("jwks"):
        return rule
    timeout_s = reader.seconds("timeout", KEY_FETCH_TIMEOUT_S, least=0.001)
    if timeout_s > MAX_KEY_FETCH_TIMEOUT_S:
        reader.elsewhere("timeout", f"is more than {MAX_KEY_FETCH_TIMEOUT_S:g} s, which are used")
        timeout_s = MAX_KEY_FETCH_TIMEOUT_S
    try:
        return replace(rule, source=key_source(uri, timeout_s=timeout_s, services=services, trusted=trusted))
    except NotFetched as exc:
        reader.report("jwksUri", f"{exc}: {REFUSED}")
        return rule


def _keys(reader: Reader) -> str:
    """Without keys that can be read no token of the issuer is valid, as in Istio."""
    uri = _uri(reader)
    if not reader.data.get("jwks"):
        if not uri:
            reader.elsewhere(
                "jwks", f"is missing, and so is jwksUri: an issuer is not asked where its keys are: {REFUSED}"
            )
        return NO_KEYS
    if uri:
        reader.report("jwksUri", "is not fetched: the keys in jwks are used")
    try:
        found = parse_jwks(str(reader.data["jwks"]))
    except NoKeys as exc:
        reader.report("jwks", f"{exc}: {REFUSED}")
        return NO_KEYS
    for problem in unreadable_keys(found):
        reader.report("jwks", f"{problem}: no token that it signs is valid")
    return json.dumps({**found, "keys": [*found["keys"], NOBODY]}, sort_keys=True)
