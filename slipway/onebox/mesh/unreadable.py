"""An object that ends the translation is left out of it, so that the others are served all the same. Pure."""

from __future__ import annotations

import logging
from dataclasses import replace

from slipway.kube.malformed import MALFORMED
from slipway.onebox.mesh.ir import Finding, Mesh
from slipway.onebox.mesh.translate import Object, Objects, Site, translate

log = logging.getLogger(__name__)
ORDER = (
    "pods",
    "endpoint_slices",
    "services",
    "deployments",
    "scaled_objects",
    "destination_rules",
    "secrets",
    "gateways",
    "virtual_services",
)
"""What is read because of another comes after it. RequestAuthentications and AuthorizationPolicies are never left out:
without one of them more requests would be let in."""


def translate_readable(objects: Objects, site: Site) -> tuple[Objects, Mesh]:
    """The objects that were read, and the mesh of them; each that was left out is a finding of the mesh.

    Raises one of MALFORMED where a RequestAuthentication or an AuthorizationPolicy cannot be read.
    """
    try:
        return objects, translate(objects, site)
    except MALFORMED:
        log.exception("an object cannot be read: it is looked for")
    kept, findings = _split(objects, site)
    mesh = translate(kept, site)
    return kept, replace(mesh, findings=tuple(sorted({*mesh.findings, *findings})))


def _split(objects: Objects, site: Site) -> tuple[Objects, list[Finding]]:
    """Those that can be read beside the kinds before theirs, and why the others cannot."""
    kept = Objects()
    findings: list[Finding] = []
    for name in ORDER:
        found = _unreadable(name, getattr(objects, name), kept, site)
        left_out = {id(item) for item, _ in found}
        kept = replace(kept, **{name: tuple(item for item in getattr(objects, name) if id(item) not in left_out)})
        findings += [_finding(item, problem) for item, problem in found]
    guards = (objects.request_authentications, objects.authorization_policies)
    return replace(kept, request_authentications=guards[0], authorization_policies=guards[1]), findings


def _unreadable(name: str, items: tuple[Object, ...], beside: Objects, site: Site) -> list[tuple[Object, str]]:
    """By halves: one of n costs about 2 log2(n) translations."""
    try:
        translate(replace(beside, **{name: items}), site)
    except MALFORMED as exc:
        if len(items) == 1:
            return [(items[0], f"{type(exc).__name__}: {exc}")]
    else:
        return []
    middle = len(items) // 2
    return [*_unreadable(name, items[:middle], beside, site), *_unreadable(name, items[middle:], beside, site)]


def _finding(item: Object, problem: str) -> Finding:
    meta = item["metadata"]
    message = f"cannot be read, so it has no effect: {problem}"
    return Finding(str(item.get("kind")), str(meta.get("namespace", "")), str(meta["name"]), "spec", message)
