"""compose.yaml as Compose reads it: strictly, with its anchors and merges resolved."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from slipway.kube.manifests import _StrictLoader
from tests.data import REPOSITORY

Object = dict[str, Any]
COMPOSE = REPOSITORY / "compose.yaml"


@cache
def compose() -> Object:
    found: Object = yaml.load(COMPOSE.read_text(), Loader=_StrictLoader)
    return found


def services() -> dict[str, Object]:
    found: dict[str, Object] = compose()["services"]
    return found


def words(service: Object, name: str) -> list[str]:
    """``entrypoint`` or ``command`` with Compose's escape undone; a text would go through a shell."""
    given = service.get(name) or []
    assert isinstance(given, list), f"{name} is a text"
    return [str(word).replace("$$", "$") for word in given]


def mounts(service: Object) -> dict[str, tuple[str, bool]]:
    """Path in the container → (source, is it read-only)."""
    found = {}
    for text in service.get("volumes") or ():
        source, target, *mode = text.split(":")
        found[target] = (source, mode == ["ro"])
    return found
