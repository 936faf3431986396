"""What exists, as far as this process knows: the reflector's objects, and its own writes that have not come back yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from slipway.controller.meta import Object
from slipway.kube.kinds import Kind
from slipway.kube.reflector import Change, Reflector

Place = tuple[Kind, str, str]
"""(kind, namespace, name)."""


@dataclass
class View:
    """Without the writes, a look right after a write would find the old object and write once more."""

    reflector: Reflector
    _writes: dict[Place, tuple[str, Object | None]] = field(default_factory=dict)

    def wrote(self, kind: Kind, namespace: str, name: str, result: Object | None) -> None:
        """``result`` is what the API answered, None for a deletion. Kept until the reflector has something newer."""
        before = self._version(self.reflector.objects(kind).get((namespace, name)))
        if result is None or self._version(result) != before:
            self._writes[kind, namespace, name] = (before, result)

    def heard(self, changes: Iterable[Change]) -> None:
        """The reflector has changed there: what was written is known, or was changed again.

        Its object alone does not always say so. One that was made and then removed is as little there as before.
        """
        for change in changes:
            self._writes.pop((change.kind, change.namespace, change.name), None)

    def objects(self, kind: Kind, namespace: str) -> dict[str, Object]:
        """By name."""
        found = {name: obj for (place, name), obj in self.reflector.objects(kind).items() if place == namespace}
        for place in [place for place in self._writes if place[:2] == (kind, namespace)]:
            self._overlay(place, found)
        return found

    def _overlay(self, place: Place, found: dict[str, Object]) -> None:
        name = place[2]
        before, result = self._writes[place]
        if self._version(found.get(name)) != before:
            del self._writes[place]  # the reflector has moved on
        elif result is None:
            found.pop(name, None)
        else:
            found[name] = result

    @staticmethod
    def _version(obj: Any) -> str:
        return str(obj["metadata"].get("resourceVersion", "")) if obj else ""
