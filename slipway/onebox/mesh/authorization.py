"""AuthorizationPolicies of the gateway → rules.

What cannot be asked here fails closed: it allows nobody, and denies as if the condition were not there. So does the
provider of an action ``CUSTOM``: what such a policy would have it decide about is denied.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from slipway.onebox.mesh.authentication import is_about_the_gateway
from slipway.onebox.mesh.fields import HEADER_NAME, Reader
from slipway.onebox.mesh.ir import Finding, Reason
from slipway.onebox.mesh.ir_security import Action, Condition, ConditionKind, Conditions, Policy, Rule

Object = Mapping[str, Any]
NEVER = Condition("never")
OF_PODS = ("principals", "namespaces", "serviceAccounts", "trustDomains")
"""Of callers with a certificate of the mesh: who comes through the gateway has none."""
SOURCES: Mapping[str, tuple[ConditionKind, str]] = {
    "ipBlocks": ("direct_ip", ""),
    "remoteIpBlocks": ("remote_ip", ""),
}
OPERATIONS: Mapping[str, tuple[ConditionKind, str]] = {
    "hosts": ("header", ":authority"),
    "methods": ("header", ":method"),
    "paths": ("path", ""),
}
_KEY = re.compile(r"request\.(headers|auth\.claims)((?:\[[^\[\]]+\])+)")
_CLAIMS = {"request.auth.audiences": "aud", "request.auth.presenter": "azp"}
_ADDRESSES: Mapping[str, ConditionKind] = {"source.ip": "direct_ip", "remote.ip": "remote_ip"}


def read_policies(objects: Iterable[Object], findings: list[Finding]) -> tuple[Policy, ...]:
    """By name."""
    found = []
    for item in sorted(objects, key=lambda one: str(one["metadata"]["name"])):
        reader = Reader.of(item, findings)
        reader.only({"selector", "action", "provider", "rules"})
        if not is_about_the_gateway(reader):
            continue
        action = reader.text("action") or "ALLOW"
        if action == "AUDIT":
            reader.elsewhere("action", "nothing is audited on one machine: this policy has no effect")
            continue
        if action not in ("ALLOW", "DENY"):
            reader.elsewhere("action", f"{action!r} cannot be asked on one machine: what its rules match is denied")
        kind: Action = "ALLOW" if action == "ALLOW" else "DENY"
        rules = tuple(_Rules(kind).read(rule) for rule in reader.children("rules"))
        found.append(Policy(f"{reader.namespace}/{reader.name}", kind, rules))
    return tuple(found)


class _Rules:
    """Reads rules of one action, which decides what becomes of a condition that cannot be asked."""

    def __init__(self, action: Action) -> None:
        self._action = action

    def read(self, reader: Reader) -> Rule:
        reader.only({"from", "to", "when"})
        always = [condition for item in reader.children("when") for condition in self._when(item)]
        sources = [self._source(item.child("source")) for item in reader.children("from")] or [()]
        operations = [self._operation(item.child("operation")) for item in reader.children("to")] or [()]
        return Rule(tuple((*source, *always) for source in sources), tuple(operations))

    def _unknown(self, reader: Reader, key: str, why: str, reason: Reason = "Invalid") -> Conditions:
        effect = "the rule allows nobody" if self._action == "ALLOW" else "the rule denies without it"
        reader.report(key, f"{why}: {effect}", reason)
        return (NEVER,) if self._action == "ALLOW" else ()

    def _source(self, reader: Reader) -> Conditions:
        known = {"requestPrincipals", *SOURCES}
        found = [*self._of_pods(reader), *self._fields(reader, SOURCES), *self._principals(reader)]
        return (*found, *self._others(reader, {*known, *OF_PODS}))

    def _of_pods(self, reader: Reader) -> Conditions:
        found = []
        for key in OF_PODS:
            if reader.items(key):
                reader.elsewhere(key, "nobody at the gateway has a certificate of the mesh: this source is nobody")
                found.append(NEVER)
        return tuple(found)

    def _principals(self, reader: Reader) -> Conditions:
        """``issuer/subject``; either may be ``*``."""
        found: list[Condition] = []
        for key, negated in (("requestPrincipals", False), ("notRequestPrincipals", True)):
            values = tuple(map(str, reader.items(key)))
            bad = [value for value in values if _principal_problem(value)]
            if bad:
                found += self._unknown(reader, key, f"{bad[0]!r} is not issuer/subject, issuer/*, */subject or *")
            elif values:
                found.append(Condition("claim", values, "iss/sub", negated))
        return tuple(found)

    def _operation(self, reader: Reader) -> Conditions:
        return (*self._fields(reader, OPERATIONS), *self._others(reader, OPERATIONS.keys()))

    def _fields(self, reader: Reader, table: Mapping[str, tuple[ConditionKind, str]]) -> Conditions:
        found: list[Condition] = []
        for key, (kind, name) in table.items():
            for field, negated in ((key, False), (f"not{key[0].upper()}{key[1:]}", True)):
                if values := tuple(map(str, reader.items(field))):
                    found += self._checked(reader, field, Condition(kind, values, name, negated))
        return tuple(found)

    def _checked(self, reader: Reader, key: str, condition: Condition) -> Conditions:
        is_address = condition.kind in ("direct_ip", "remote_ip")
        bad = [value for value in condition.values if (_address_problem if is_address else _text_problem)(value)]
        right = (
            "an address or a block such as 10.0.0.0/8" if is_address else "a text with one * at most, at an end of it"
        )
        return self._unknown(reader, key, f"{bad[0][:80]!r} is not {right}") if bad else (condition,)

    def _others(self, reader: Reader, known: Iterable[str]) -> Conditions:
        forms = {form for key in known for form in (key, f"not{key[0].upper()}{key[1:]}")}
        found: list[Condition] = []
        for key in sorted(reader.data.keys() - forms):
            if reader.data[key]:
                found += self._unknown(reader, key, "not supported on one machine", "NotSupported")
        return tuple(found)

    def _when(self, reader: Reader) -> Conditions:
        key = reader.text("key")
        found: list[Condition] = []
        for field, negated in (("values", False), ("notValues", True)):
            values = tuple(map(str, reader.items(field)))
            if not values:
                continue
            condition = _condition(key, values, negated=negated)
            if condition is None:
                why = f"{key!r} is not known at the gateway of one machine"
                found += self._unknown(reader, "key", why, "NotSupported")
            elif condition.key == "iss/sub" and any(map(_principal_problem, values)):
                found += self._unknown(reader, field, f"{values[0]!r} is not issuer/subject, issuer/*, */subject or *")
            else:
                found += self._checked(reader, field, condition)
        return tuple(found)


def _condition(key: str, values: tuple[str, ...], *, negated: bool) -> Condition | None:
    if key == "request.auth.principal":
        return Condition("claim", values, "iss/sub", negated)
    if key in _CLAIMS:
        return Condition("claim", values, _CLAIMS[key], negated)
    if key in _ADDRESSES:
        return Condition(_ADDRESSES[key], values, "", negated)
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    parts = match[2][1:-1].split("][")
    if match[1] == "headers":
        is_name = len(parts) == 1 and HEADER_NAME.fullmatch(parts[0]) is not None
        return Condition("header", values, parts[0].lower(), negated) if is_name else None
    return Condition("claim", values, "\t".join(parts), negated)


def _principal_problem(value: str) -> bool:
    issuer, slash, subject = value.rpartition("/")
    is_pair = bool(slash and issuer and subject)
    return value != "*" and not (is_pair and all("*" not in part or part == "*" for part in (issuer, subject)))


def _address_problem(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return True
    return "%" in value  # a zone, which Envoy does not take


def _text_problem(value: str) -> bool:
    """Istio's forms have one star, at an end; ``{*}`` templates of paths are not known here."""
    inner = value[1:] if value.startswith("*") else value.removesuffix("*")
    return "*" in inner or not value
