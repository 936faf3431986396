"""A chart's default values as a schema: which of our keys its templates cannot know, which have another type."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

NUMBERS = (int, float)
KINDS: Mapping[type, str] = {str: "a string", list: "a list", dict: "a map"}


def complaints(ours: Mapping[str, Any], theirs: Mapping[str, Any], *, also: Collection[str] = ()) -> list[str]:
    """``path: what is wrong`` of each key of ours.

    A default of ``{}`` or null says nothing about what may stand there, nor does a list about its items. ``also`` are
    paths about which the defaults do not say everything: a key that only a template reads, a piece of Kubernetes.
    """
    return list(_compare(ours, theirs, path="", also=also))


def _compare(ours: Any, theirs: Any, *, path: str, also: Collection[str]) -> Iterator[str]:
    if ours is None or theirs is None or path in also:
        return
    if isinstance(theirs, Mapping):
        if not isinstance(ours, Mapping):
            yield f"{path}: {_kind(ours)}, but the chart's default is a map"
        elif theirs:
            yield from _compare_maps(ours, theirs, path=path, also=also)
    elif _kind(ours) != _kind(theirs):
        yield f"{path}: {_kind(ours)}, but the chart's default is {_kind(theirs)}"


def _compare_maps(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], *, path: str, also: Collection[str]
) -> Iterator[str]:
    for key, value in ours.items():
        below = f"{path}.{key}" if path else str(key)
        if key in theirs:
            yield from _compare(value, theirs[key], path=below, also=also)
        elif below not in also:
            yield f"{below}: the chart has no such key"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, NUMBERS):
        return "a number"
    return KINDS.get(type(value), type(value).__name__)
