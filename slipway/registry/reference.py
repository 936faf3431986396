"""``models:/`` URIs, as MLflow writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipway.registry.errors import InvalidModelUri

SCHEME = "models:/"
_REFERENCE = re.compile(
    r"models:/+(?P<name>[^/@:]{1,256})(?:/(?P<version>[0-9]{1,9})|@(?P<alias>[A-Za-z0-9_-]{1,256}))"
)


@dataclass(frozen=True)
class ModelReference:
    """One registered model and exactly one of a version or an alias."""

    name: str
    version: str | None = None
    alias: str | None = None

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}@{self.alias}" if self.alias else f"{SCHEME}{self.name}/{self.version}"


def is_model_reference(uri: str) -> bool:
    """Whether ``uri`` names a registered model rather than a place."""
    return uri.startswith(SCHEME)


def parse_model_reference(uri: str) -> ModelReference:
    """``models:/yolo@champion`` or ``models:/yolo/3``; InvalidModelUri otherwise.

    MLflow's ``models:/m-<id>`` (a logged model without a version) is refused on purpose: it cannot be promoted. So is a name
    with control characters: a registry's database may fail at one, as PostgreSQL does at NUL.
    """
    match = _REFERENCE.fullmatch(uri)
    if match is None or not uri.isprintable():
        raise InvalidModelUri(f"{uri!r} is not a registered model: write models:/NAME@ALIAS or models:/NAME/VERSION")
    return ModelReference(**match.groupdict())
