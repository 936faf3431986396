"""A deployment's answer with what its headers (gRPC: metadata) say of who gave it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.contract import headers

_MODEL = re.compile(r"(?P<name>[^/\s,]+)/(?P<version>\S*)(?: (?P<digest>sha256:[0-9a-f]{64}))?")
MIN_ROUTE, MAX_ROUTE = -2, 2**31 - 1
"""Routes are int32 in a SeldonMessage; -1 means all children, -2 none."""
_TIMING = re.compile(r'([^\s;,]+)\s*;[^,]*?dur="?([0-9]+(?:\.[0-9]+)?)')


@dataclass(frozen=True)
class ModelVersion:
    """One registered version; ``version`` and ``digest`` are "" for a model that has none."""

    name: str
    version: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.name}/{self.version}" if self.version else self.name


@dataclass(frozen=True)
class Reply:
    """``message`` is the SeldonMessage in its JSON form; over gRPC every number in it is a float.

    ``models`` are the versions that took part, ``routing`` the child that each router chose, ``node_ms`` how long the
    executor waited for each node, ``elapsed_ms`` the whole call as the caller saw it. Without the headers (other servers
    than Slipway's send none of ``x-slipway-*``) these are empty.
    """

    message: Mapping[str, Any]
    request_id: str = ""
    predictor: str = ""
    models: tuple[ModelVersion, ...] = ()
    routing: Mapping[str, int] = field(default_factory=dict)
    node_ms: Mapping[str, float] = field(default_factory=dict)
    elapsed_ms: float = 0.0

    @property
    def model(self) -> ModelVersion | None:
        return self.models[0] if self.models else None


def read_reply(message: Mapping[str, Any], said: Mapping[str, str], *, elapsed_ms: float) -> Reply:
    """``said``: headers or metadata, names in lower case, repeated ones joined by ``, ``. What cannot be read is left out."""
    meta = message.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    return Reply(
        message=message,
        request_id=said.get(headers.PUID) or str(meta.get("puid") or ""),
        predictor=said.get(headers.PREDICTOR, ""),
        models=tuple(_models(said.get(headers.MODEL, ""))),
        routing=_routing(said.get(headers.ROUTING, "")) or _routing(json.dumps(meta.get("routing") or {})),
        node_ms={name: float(spent) for name, spent in _TIMING.findall(said.get(headers.SERVER_TIMING, ""))},
        elapsed_ms=elapsed_ms,
    )


def _models(text: str) -> list[ModelVersion]:
    found = (_MODEL.fullmatch(part.strip()) for part in text.split(",") if part.strip())
    return [ModelVersion(match["name"], match["version"], match["digest"] or "") for match in found if match]


def _routing(text: str) -> dict[str, int]:
    try:
        chosen = json.loads(text or "{}")
    except ValueError:  # a proxy's own header of that name: nothing of ours
        return {}
    if not isinstance(chosen, dict):
        return {}
    return {
        router: int(child)
        for router, child in chosen.items()
        if isinstance(child, int | float) and MIN_ROUTE <= child <= MAX_ROUTE
    }
