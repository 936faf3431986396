"""helm-values/README.md → its table; a chart's defaults and ours → what Helm would hand to the templates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.data import REPOSITORY, SCHEMAS

FOLDER = REPOSITORY / "helm-values"
README = FOLDER / "README.md"
DEFAULTS = {
    "istiod": SCHEMAS / "istio" / "istiod.values.yaml",
    "gateway": SCHEMAS / "istio" / "gateway.values.yaml",
    "jupyterhub": SCHEMAS / "zero-to-jupyterhub" / "jupyterhub.values.yaml",
    "seaweedfs": SCHEMAS / "seaweedfs" / "seaweedfs.values.yaml",
    "seldon-core-operator": SCHEMAS / "seldon-core" / "seldon-core-operator.values.yaml",
}
ISTIO_WRAPPER = "_internal_defaults_do_not_set"
"""Istio's charts keep their defaults below this key; users write the same keys at the top."""
Values = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One row: what to install, from where, under which names; ``files`` in the order in which Helm is given them."""

    name: str
    repository: str
    version: str
    release: str
    namespace: str
    files: tuple[Path, ...]
    small: tuple[Path, ...]


def tables(text: str) -> Iterator[list[dict[str, str]]]:
    """Markdown's tables, each row by the names of its columns."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        head, _rule, *body = rows
        yield [dict(zip(head, row, strict=True)) for row in body]


def charts() -> dict[str, Chart]:
    rows = next(table for table in tables(README.read_text()) if "chart" in table[0])
    return {row["chart"]: _chart(row) for row in rows}


def repositories() -> dict[str, str]:
    """Name → address."""
    rows = next(table for table in tables(README.read_text()) if "address" in table[0])
    return {row["repository"]: row["address"] for row in rows}


def not_validated() -> set[str]:
    """Charts that the README admits to know nothing about."""
    rows = next(table for table in tables(README.read_text()) if "checked against" in table[0])
    return {row["values of"] for row in rows if row["checked against"].startswith("not validated")}


def load(path: Path) -> Values:
    found = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    assert isinstance(found, dict), f"{path}: a mapping is needed"
    return found


def defaults(chart: str) -> Values:
    found = load(DEFAULTS[chart])
    return {**found.pop(ISTIO_WRAPPER, {}), **found}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """Maps key by key, everything else replaced, null removes: helm.sh/docs/chart_template_guide/values_files."""
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _chart(row: Mapping[str, str]) -> Chart:
    return Chart(
        name=row["chart"],
        repository=row["repository"],
        version=row["version"],
        release=row["release"],
        namespace=row["namespace"],
        files=_files(row["values"]),
        small=_files(row["small"]),
    )


def _files(cell: str) -> tuple[Path, ...]:
    return tuple(FOLDER / target for target in re.findall(r"\]\(([^)]+)\)", cell))
