"""Seldon Core's own CRD, from ../shared/reference/schemas (the small form, and the patch that its chart applies)."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from tests.data import SCHEMAS


@cache
def seldons_definition() -> dict[str, Any]:
    """With children spelled out ten deep."""
    crd = _load("seldondeployments.v1-small.yaml")
    for operation in _load("seldondeployments.v1-small.graph_children.patch.yaml"):
        *parents, last = operation["path"].strip("/").split("/")
        place: Any = crd
        for part in parents:
            place = place[int(part) if isinstance(place, list) else part]
        assert operation["op"] == "replace", "the only kind in that file"
        place[last] = operation["value"]
    return dict(crd)


def seldons_schema() -> dict[str, Any]:
    return dict(seldons_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def _load(name: str) -> Any:
    return yaml.load((SCHEMAS / "seldon-core" / name).read_text(), Loader=yaml.CSafeLoader)
