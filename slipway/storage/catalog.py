"""The table of public models: name, size, SHA-256 and addresses of each file."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import yaml


@dataclass(frozen=True)
class PublicFile:
    """One file; every URL gives the same bytes."""

    name: str
    size_bytes: int
    sha256: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class PublicModel:
    """A cfg, weights and names that belong together."""

    name: str
    licence: str
    files: tuple[PublicFile, ...]


def load_catalog() -> dict[str, PublicModel]:
    """Every public model by name."""
    table = yaml.safe_load(resources.files("slipway.storage").joinpath("catalog.yaml").read_text())
    return {
        name: PublicModel(
            name=name,
            licence=entry["licence"],
            files=tuple(
                PublicFile(file["name"], file["bytes"], file["sha256"], tuple(file["urls"])) for file in entry["files"]
            ),
        )
        for name, entry in table.items()
    }
