"""Which kinds an API serves, and the kind that a person means by a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import KubeError
from slipway.kube.kinds import Kind

ONE_MACHINE = "+slipway"
"""End of the version that the API of one machine says it is."""
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class UnknownKind(KubeError):
    """No served kind goes by that name."""


@dataclass(frozen=True)
class Served:
    """A served kind with the words it goes by."""

    kind: Kind
    words: frozenset[str]


async def is_one_machine(kube: Kube) -> bool:
    """Whether this is the API of one machine; a cluster's has another version."""
    return str((await kube.request("GET", "/version")).get("gitVersion") or "").endswith(ONE_MACHINE)


async def discover(kube: Kube) -> list[Served]:
    """Every kind in its preferred version; the core group comes first."""
    found: list[Served] = []
    for path in ("/api", "/apis"):
        document = await kube.request("GET", path, headers={"Accept": AGGREGATED})
        for group in document.get("items") or ():
            found += _of_group(group)
    return found


def _of_group(group: dict[str, Any]) -> list[Served]:
    name = (group.get("metadata") or {}).get("name") or ""
    found: dict[str, Served] = {}
    for version in group.get("versions") or ():
        for entry in version.get("resources") or ():
            plural, kind = entry["resource"], entry["responseKind"]["kind"]
            words = {
                plural,
                entry.get("singularResource") or kind.lower(),
                kind.lower(),
                *(entry.get("shortNames") or ()),
            }
            words |= {f"{word}.{name}" for word in list(words) if name}
            served = Kind(name, version["version"], plural, kind, entry.get("scope") == "Namespaced")
            found.setdefault(plural, Served(served, frozenset(words)))
    return list(found.values())


def find_kind(served: Sequence[Served], word: str) -> Kind:
    """The kind meant by a plural, singular or short name, with or without its group. Raises UnknownKind."""
    for entry in served:
        if word.lower() in entry.words:
            return entry.kind
    raise UnknownKind(f"{word!r} is not a kind that this API serves; `kubectl api-resources` lists them")


def kind_of_manifest(served: Sequence[Served], obj: dict[str, Any]) -> Kind:
    """The kind of an object, in the version that the object says. Raises UnknownKind."""
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    for entry in served:
        if (entry.kind.group, entry.kind.kind) == (group, obj.get("kind")):
            return Kind(group, version, entry.kind.plural, entry.kind.kind, entry.kind.namespaced)
    raise UnknownKind(f"{obj.get('apiVersion')} {obj.get('kind')}: this API does not serve that kind")
