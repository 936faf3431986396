"""What NetworkPolicies let through, after https://kubernetes.io/docs/concepts/services-networking/network-policies/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Object = dict[str, Any]
OPERATORS: Mapping[str, Callable[[Mapping[str, str], str, Any], bool]] = {
    "In": lambda labels, key, values: labels.get(key) in values,
    "NotIn": lambda labels, key, values: labels.get(key) not in values,
    "Exists": lambda labels, key, _: key in labels,
    "DoesNotExist": lambda labels, key, _: key not in labels,
}


@dataclass(frozen=True)
class End:
    """One end of a connection: a Pod, or with no ``namespace`` an address outside. ``ports``: name → numbers; containers
    of one Pod may give one name to several."""

    address: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    ports: Mapping[str, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """``namespaces``: name → labels. ``blocks_take_pods``: whether an ipBlock is asked about Pods, too, which is every
    implementation's own affair: what is needed must pass with both, what is forbidden with neither."""

    namespaces: Mapping[str, Mapping[str, str]]
    policies: Iterable[Object]
    blocks_take_pods: bool


def passes(network: Network, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection is both let out and let in. A Pod always reaches itself."""
    return source == target or all(
        _one_way(network, direction, (own, peer), target, (port, protocol))
        for direction, own, peer in (("Egress", source, target), ("Ingress", target, source))
    )


def _one_way(network: Network, direction: str, ends: tuple[End, End], target: End, at: tuple[int, str]) -> bool:
    """A Pod that no policy selects in this direction is open; one that some do has what any of them allows."""
    own, peer = ends
    selecting = [item for item in network.policies if own.namespace and _selects(item, direction, own)]
    key = "to" if direction == "Egress" else "from"
    return not selecting or any(
        _takes_port(rule.get("ports"), target, *at)
        and (not rule.get(key) or any(_is_peer(network, item, policy, peer) for item in rule[key]))
        for policy in selecting
        for rule in policy["spec"].get(direction.lower()) or ()
    )


def _selects(policy: Object, direction: str, pod: End) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
    is_here = policy["metadata"]["namespace"] == pod.namespace
    return is_here and direction in types and selects(spec["podSelector"], pod.labels)


def _is_peer(network: Network, item: Object, policy: Object, peer: End) -> bool:
    if block := item.get("ipBlock"):
        address = ip_address(peer.address)
        is_inside = address in ip_network(block["cidr"])
        is_except = any(address in ip_network(text) for text in block.get("except") or ())
        return is_inside and not is_except and (network.blocks_take_pods or not peer.namespace)
    if not peer.namespace:
        return False
    if "namespaceSelector" in item:
        is_there = selects(item["namespaceSelector"], network.namespaces[peer.namespace])
    else:
        is_there = policy["metadata"]["namespace"] == peer.namespace
    return is_there and selects(item.get("podSelector") or {}, peer.labels)


def _takes_port(rules: Iterable[Object] | None, target: End, port: int, protocol: str) -> bool:
    return not rules or any(
        item.get("protocol", "TCP") == protocol and _is_port(item.get("port"), item.get("endPort"), target, port)
        for item in rules
    )


def _is_port(wanted: int | str | None, last: int | None, target: End, port: int) -> bool:
    """A name that several containers give to several numbers is none: implementations take one of them, or fail."""
    if isinstance(wanted, str):
        return target.ports.get(wanted) == frozenset({port})
    return wanted is None or wanted <= port <= (last or wanted)


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """A label selector of Kubernetes; an empty one takes everything."""
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        OPERATORS[item["operator"]](labels, item["key"], item.get("values") or ())
        for item in selector.get("matchExpressions") or ()
    )
