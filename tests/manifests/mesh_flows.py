"""What Istio lets through to a Pod with a sidecar, and to its gateway: PeerAuthentications, then AuthorizationPolicies.

https://istio.io/latest/docs/reference/config/security/authorization-policy/ and .../peer_authentication/. A field that is not
judged here is an error, never a match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
ROOT = "istio-system"
"""The namespace whose objects without a selector are about the whole mesh."""
UNJUDGED = frozenset({15020, 15021, 15090})
"""Ports of the sidecar itself, where it answers for health, rewritten probes and metrics: not intercepted."""
TRUST_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Party:
    """Who asks or is asked. Without a proxy it shows no certificate, and nobody judges what reaches it."""

    namespace: str = ""
    account: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    has_proxy: bool = False
    is_gateway: bool = False


@dataclass(frozen=True)
class Call:
    """``token``: ``issuer/subject`` of a valid one, or ''."""

    port: int
    method: str = "GET"
    path: str = "/"
    token: str = ""


def passes(objects: Sequence[Object], source: Party, target: Party, call: Call) -> bool:
    """Whether a request arrives. Its source takes mutual TLS wherever its target has a proxy."""
    if not target.has_proxy or call.port in UNJUDGED:
        return True
    if target.is_gateway:  # whose Gateway says what TLS is; nobody's certificate of the mesh gets there
        source = Party()
    elif not source.has_proxy and _mode(objects, target, call.port) == "STRICT":
        return False
    policies = [item for item in objects if item["kind"] == "AuthorizationPolicy" and _is_about(item, target)]
    if any(_matches(item, source, call) for item in _of_action(policies, "DENY")):
        return False
    allowing = _of_action(policies, "ALLOW")
    return not allowing or any(_matches(item, source, call) for item in allowing)


def _of_action(policies: Iterable[Object], action: str) -> list[Object]:
    found = [(item, (item.get("spec") or {}).get("action", "ALLOW")) for item in policies]
    if strange := {word for _, word in found} - {"ALLOW", "DENY"}:
        raise NotJudgedError(*strange)
    return [item for item, word in found if word == action]


class NotJudgedError(ValueError):
    """A word of a policy that this evaluation does not know."""


def _is_about(item: Object, target: Party) -> bool:
    spec = item.get("spec") or {}
    if "targetRef" in spec or "targetRefs" in spec:
        raise NotJudgedError("targetRefs")
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return item["metadata"]["namespace"] in (target.namespace, ROOT) and labels.items() <= target.labels.items()


def _mode(objects: Sequence[Object], target: Party, port: int) -> str:
    """The narrowest word: the port's, the Pod's, the namespace's, the mesh's; PERMISSIVE where nobody says one."""
    found = [item for item in objects if item["kind"] == "PeerAuthentication" and _is_about(item, target)]
    own = [item for item in found if "selector" in item["spec"]]
    rest = [item for item in found if "selector" not in item["spec"]]
    of_ports = [(item["spec"].get("portLevelMtls") or {}).get(str(port)) for item in own]
    of_namespace = [item["spec"].get("mtls") for item in rest if item["metadata"]["namespace"] == target.namespace]
    of_mesh = [item["spec"].get("mtls") for item in rest if item["metadata"]["namespace"] == ROOT]
    for said in (*of_ports, *(item["spec"].get("mtls") for item in own), *of_namespace, *of_mesh):
        if said and said["mode"] != "UNSET":
            mode: str = said["mode"]
            return mode
    return "PERMISSIVE"


def _matches(policy: Object, source: Party, call: Call) -> bool:
    """No rule matches nothing, an empty one everything."""
    place = policy["metadata"]["namespace"]
    return any(_rule(rule, place, source, call) for rule in (policy.get("spec") or {}).get("rules") or ())


def _rule(rule: Object, place: str, source: Party, call: Call) -> bool:
    if rule.keys() - {"from", "to"}:
        raise NotJudgedError(*rule.keys())
    froms = [item["source"] for item in rule.get("from") or ()]
    tos = [item["operation"] for item in rule.get("to") or ()]
    return (not froms or any(_all(item, _of_source(source, place, call.token)) for item in froms)) and (
        not tos or any(_all(item, _of_call(call)) for item in tos)
    )


Check = Callable[[str], bool]


def _all(wanted: Object, checks: Mapping[str, Check]) -> bool:
    """Every field; of a field any value, of a ``not`` field none."""
    for key, values in wanted.items():
        name = key[3].lower() + key[4:] if key.startswith("not") else key
        if name not in checks:
            raise NotJudgedError(key)
        if any(map(checks[name], values)) is key.startswith("not"):
            return False
    return True


def _of_source(source: Party, place: str, token: str) -> dict[str, Check]:
    """An account without a namespace is the policy's."""
    principal = f"{TRUST_DOMAIN}/ns/{source.namespace}/sa/{source.account}" if source.has_proxy else ""
    namespace = source.namespace if source.has_proxy else ""
    account = f"{source.namespace}/{source.account}" if source.has_proxy else ""
    return {
        "principals": lambda wanted: _is(wanted, principal),
        "namespaces": lambda wanted: _is(wanted, namespace),
        "requestPrincipals": lambda wanted: _is(wanted, token),
        "serviceAccounts": lambda wanted: (wanted if "/" in wanted else f"{place}/{wanted}") == account,
    }


def _of_call(call: Call) -> dict[str, Check]:
    return {
        "ports": lambda wanted: wanted == str(call.port),
        "methods": lambda wanted: _is(wanted, call.method),
        "paths": lambda wanted: _is(wanted, call.path),
    }


def _is(wanted: str, value: str) -> bool:
    """Exact, ``prefix*``, ``*suffix``, or ``*`` for whatever is there."""
    if wanted == "*":
        return value != ""
    if wanted.endswith("*"):
        return value.startswith(wanted[:-1])
    return value.endswith(wanted[1:]) if wanted.startswith("*") else value == wanted
