"""The CustomResourceDefinition that ``slipway crd`` prints, ``kubernetes/crd`` holds and the API of one machine serves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import yaml

from slipway.contract.sdep import GROUP, KIND, VERSIONS
from slipway.crd.schema import schema

Object = dict[str, Any]
PLURAL = "seldondeployments"
NAME = f"{PLURAL}.{GROUP}"
MANAGED_BY, MANAGER = "app.kubernetes.io/managed-by", "slipway"
DIGEST = "slipway.dev/crd-sha256"
"""Annotation: of which definition of ours this is, whatever the API adds to it."""
NUMBERED, NUMBER = "slipway.dev/crd-number", 3
"""Annotation, and what this release writes there: one more at each change, so that an older release leaves a newer one's.
The definition before the first number counts as 1."""
NAMES: Object = {
    "plural": PLURAL,
    "singular": "seldondeployment",
    "kind": KIND,
    "listKind": f"{KIND}List",
    "shortNames": ["sdep"],
    "categories": ["all", "seldon"],
}
SUBRESOURCES: Object = {
    "status": {},
    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
}
MAX_DIGITS = 9
WIDTH = 1000
"""One rule is one line."""
HEADER = "# Written by `slipway crd`: change slipway/crd, then `slipway crd > kubernetes/crd/seldondeployments.yaml`.\n"


def _column(name: str, json_path: str, description: str, **more: Any) -> Object:
    return {"name": name, "type": "string", "jsonPath": json_path, "description": description, **more}


# One value each: of several API servers print the first (kubernetes/kubernetes#101205, closed without a merge).
COLUMNS: list[Object] = [
    _column("State", ".status.state", "Available once every live predictor is"),
    _column("Replicas", ".status.replicas", "Replicas that exist", type="integer"),
    _column("Traffic", ".status.split", "Predictors in order with their declared percentages"),
    _column("Address", ".status.address.url", "Where requests go", priority=1),
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def definition() -> Object:
    """The whole object; a new one at each call, of which the caller may change every part."""
    spec = {
        "group": GROUP,
        "scope": "Namespaced",
        "names": deepcopy(NAMES),
        "versions": [_version(name, stored=index == 0) for index, name in enumerate(VERSIONS)],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "labels": {MANAGED_BY: MANAGER}, "annotations": _annotations(spec)},
        "spec": spec,
    }


def number(crd: Mapping[str, Any]) -> int:
    """Of a definition of ours; what is no number was written by hand, and counts as the oldest."""
    text = (crd["metadata"].get("annotations") or {}).get(NUMBERED, "")
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else 1


def digest(spec: Mapping[str, Any]) -> str:
    """SHA-256 of a definition's ``spec`` as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def render(crd: Mapping[str, Any]) -> str:
    """As YAML: innermost mappings and lists in one line, no anchors (kustomize and kubectl read them differently)."""
    apart = json.loads(json.dumps(crd))  # what is one value in two places becomes two: anchors are for those
    return HEADER + str(yaml.safe_dump(apart, sort_keys=False, default_flow_style=None, width=WIDTH))


def _annotations(spec: Object) -> dict[str, str]:
    return {DIGEST: digest(spec), NUMBERED: str(NUMBER)}


def _version(name: str, *, stored: bool) -> Object:
    return {
        "name": name,
        "served": True,
        "storage": stored,
        "schema": {"openAPIV3Schema": schema()},
        "subresources": deepcopy(SUBRESOURCES),
        "additionalPrinterColumns": deepcopy(COLUMNS),
    }
