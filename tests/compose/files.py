"""compose.yaml as Compose reads it: strictly, with its anchors and merges resolved."""

from __future__ import annotations

from collections.abc import Mapping
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


def environment_of(service: Object, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What its process is given: the file's, then the service's, then of the secrets that with-secret reads."""
    found: dict[str, str] = {}
    if "env_file" in service:
        lines = (COMPOSE.parent / service["env_file"]).read_text().splitlines()
        found |= {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
    found |= {name: str(value) for name, value in (service.get("environment") or {}).items()}
    for name in service.get("secrets") or ():
        found |= secrets.get(name, {})
    return {name: value for name, value in found.items() if not name.startswith("#")}
