"""What it would mean to put our definition in the place of another's: which fields differ, and which objects would change.

Nothing here asks an API: objects and definitions are what it answered.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.contract.admission import review
from slipway.contract.controller_id import NO_ID, is_looked_after
from slipway.contract.predictor_servers import SHIPPED, Servers
from slipway.crd.definition import DIGEST, MANAGED_BY, MANAGER, NUMBER, definition, digest, number
from slipway.crd.schema import schema
from slipway.crd.structural import Schema, prune, validate

Object = Mapping[str, Any]
KEPT = "x-kubernetes-preserve-unknown-fields"
HELM_RELEASE = ("meta.helm.sh/release-namespace", "meta.helm.sh/release-name")


@dataclass(frozen=True)
class Differences:
    """Between another's definition and ours. Fields are paths with ``[]`` for every element of a list."""

    dropped_there: tuple[str, ...] = ()
    """Fields of ours that an object loses where the other definition stays."""
    dropped_here: tuple[str, ...] = ()
    """Fields of the other's that an object would lose with ours."""
    not_served: tuple[str, ...] = ()
    """Versions and sub-resources that only ours has."""
    has_rules: bool = True
    """Does the API server itself check rules of admission there?"""


@dataclass(frozen=True)
class Affected:
    """One SeldonDeployment that our definition would change, or that could not be written again as it is."""

    namespace: str
    name: str
    dropped: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"loses {path}" for path in self.dropped] + [f"would be refused: {text}" for text in self.refused]
        return f"{self.namespace}/{self.name}: {'; '.join(parts)}"


def is_ours(crd: Object) -> bool:
    """Did this program write the definition?"""
    metadata = crd["metadata"]
    is_managed = (metadata.get("labels") or {}).get(MANAGED_BY) == MANAGER
    return is_managed and DIGEST in (metadata.get("annotations") or {})


def is_newer(crd: Object) -> bool:
    """Did a later release of this program write it? It serves this one, and this one's would take fields away."""
    return is_ours(crd) and number(crd) > NUMBER


def is_current(crd: Object) -> bool:
    """Is it the definition of this version, unchanged since? The API adds defaults to ``spec``, none to a schema."""
    ours = definition()
    same = (crd["metadata"].get("annotations") or {}).get(DIGEST) == digest(ours["spec"])
    return same and number(crd) == NUMBER and _versions(crd) == _versions(ours)


def helm_release(crd: Object) -> str:
    """``namespace/name`` of the release that a definition came with; empty where none is noted."""
    annotations = crd["metadata"].get("annotations") or {}
    found = [annotations.get(name, "") for name in HELM_RELEASE]
    return "/".join(found) if all(found) else ""


def differences(crd: Object) -> Differences:
    """Of another's definition, in the version that it stores."""
    theirs, ours = _stored(crd), _stored(definition())
    served = {version["name"] for version in crd["spec"]["versions"] if version.get("served")}
    versions = [version["name"] for version in definition()["spec"]["versions"] if version["name"] not in served]
    parts = [name for name in ours["subresources"] if name not in (theirs.get("subresources") or {})]
    their_schema = (theirs.get("schema") or {}).get("openAPIV3Schema") or {KEPT: True}
    return Differences(
        dropped_there=tuple(_dropped(schema(), their_schema)),
        dropped_here=tuple(_dropped(their_schema, schema())),
        not_served=(*(f"version {name}" for name in versions), *(f"sub-resource {name}" for name in parts)),
        has_rules=_has_rules(their_schema),
    )


def affected(objects: Iterable[Object], *, controller_id: str = NO_ID, servers: Servers = SHIPPED) -> list[Affected]:
    """Those of ``objects`` (SeldonDeployments as the API lists them) that our definition would change.

    The rules of admission are asked only of objects that the controller ``controller_id`` looks after, as their own
    label says: what another keeps has passed that one's, and the definition repeats only rules of Seldon's (rules.py).
    """
    found = (_affected(obj, controller_id, servers) for obj in objects)
    return sorted(
        (each for each in found if each.dropped or each.refused), key=lambda each: (each.namespace, each.name)
    )


def _affected(obj: Object, controller_id: str, servers: Servers) -> Affected:
    metadata = obj["metadata"]
    body = {"spec": copy.deepcopy(obj.get("spec") or {})}
    dropped = prune(schema(), body)
    refused = [f"{each.field}: {each.message}" for each in validate(schema(), body, path="")]
    if not refused and is_looked_after(controller_id, metadata.get("labels") or {}, {}):
        refused = [f"{cause.field}: {cause.message}" for cause in review({**obj, **body}, predictor_servers=servers)]
    return Affected(metadata.get("namespace", ""), metadata["name"], tuple(dropped), tuple(refused))


def _versions(crd: Object) -> dict[str, Any]:
    keys = ("served", "storage", "schema", "subresources", "additionalPrinterColumns")
    return {each["name"]: {key: each.get(key) for key in keys} for each in crd["spec"]["versions"]}


def _stored(crd: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(version for version in crd["spec"]["versions"] if version.get("storage"))
    return found


def _dropped(known: Schema, other: Schema, path: str = "") -> Iterator[str]:
    """Fields of ``known`` that ``other`` has no place for; of a field that it lacks, not those below."""
    if other.get(KEPT) and not other.get("properties"):
        return
    places, extra = other.get("properties") or {}, other.get("additionalProperties")
    for name, part in (known.get("properties") or {}).items():
        below = f"{path}.{name}".lstrip(".")
        if below in ("apiVersion", "kind", "metadata", "status") or extra:
            continue
        if name in places:
            yield from _dropped(part, places[name], below)
        elif not other.get(KEPT):
            yield below
    if "items" in known and "items" in other:
        yield from _dropped(known["items"], other["items"], f"{path}[]")


def _has_rules(part: Any) -> bool:
    if isinstance(part, Mapping):
        return "x-kubernetes-validations" in part or any(_has_rules(each) for each in part.values())
    return isinstance(part, list) and any(_has_rules(each) for each in part)
