"""RequestAuthentications of the gateway → which tokens are valid. A request without any token is not refused here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.ir import Finding
from slipway.onebox.mesh.ir_security import JwtRule

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
JWT_FIELDS = {
    "issuer", "audiences", "jwks", "fromHeaders", "fromParams", "fromCookies", "forwardOriginalToken",
    "outputPayloadToHeader", "outputClaimToHeaders",
}  # fmt: skip
Object = Mapping[str, Any]


def read_authentications(objects: Iterable[Object], findings: list[Finding]) -> tuple[JwtRule, ...]:
    """By name. Of two rules of one issuer the first counts, as Envoy takes one."""
    rules: dict[str, JwtRule] = {}
    for item in sorted(objects, key=lambda one: str(one["metadata"]["name"])):
        reader = Reader.of(item, findings)
        reader.only({"selector", "jwtRules"})
        if not is_about_the_gateway(reader):
            continue
        for rule in map(_rule, reader.children("jwtRules")):
            if rule.issuer in rules:
                reader.report("jwtRules", f"{rule.issuer!r} has a rule already: this one has no effect")
            rules.setdefault(rule.issuer, rule)
    return tuple(rules.values())


def is_about_the_gateway(reader: Reader) -> bool:
    """In its namespace, and for it or for everything there; others are about Pods, whose traffic is not intercepted here."""
    labels = reader.child("selector").child("matchLabels").data
    is_here = all(GATEWAY_LABELS.get(str(key)) == value for key, value in labels.items())
    if reader.namespace == GATEWAY_NAMESPACE and is_here:
        return True
    reader.report("selector", f"only the gateway's are carried out on one machine: namespace {GATEWAY_NAMESPACE}, "
                              "selector istio: ingressgateway")  # fmt: skip
    return False


def _rule(reader: Reader) -> JwtRule:
    reader.only(JWT_FIELDS)
    headers = [(item.header_name("name"), item.text("prefix")) for item in reader.children("fromHeaders")]
    claims = [(item.header_name("header"), item.text("claim")) for item in reader.children("outputClaimToHeaders")]
    return JwtRule(
        issuer=reader.text("issuer"),
        jwks=_keys(reader),
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


def _keys(reader: Reader) -> str:
    """Without keys that can be read no token of the issuer is valid, as in Istio."""
    if not reader.data.get("jwks"):
        reader.report("jwks", "is missing, and none is fetched on one machine: no token of this issuer is valid")
        return NO_KEYS
    try:
        found = json.loads(str(reader.data["jwks"]))
    except ValueError as exc:
        reader.report("jwks", f"is not JSON ({exc}): no token of this issuer is valid")
        return NO_KEYS
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) and "kty" in key for key in keys) or not keys:
        reader.report("jwks", "has no `keys`, each with a `kty`: no token of this issuer is valid")
        return NO_KEYS
    return json.dumps({**found, "keys": [*keys, NOBODY]}, sort_keys=True)
