"""What the meta of several messages is as one: for hooks and built-ins that combine (contract §4.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def merged_meta(metas: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``tags`` and ``requestPath`` merged left to right, the later value counting; ``metrics`` one after the other."""
    tags: dict[str, Any] = {}
    path: dict[str, Any] = {}
    metrics: list[Any] = []
    for meta in metas:
        tags.update(meta.get("tags", {}))
        path.update(meta.get("requestPath", {}))
        metrics.extend(meta.get("metrics", []))
    return {"tags": tags, "requestPath": path, "metrics": metrics}
