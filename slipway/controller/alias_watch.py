"""Where the followed aliases point: asked of the registry every few seconds, one request per model for all that follow."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.contract.annotations import FOLLOW_ALIAS
from slipway.contract.fields import FieldError
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.models import followed
from slipway.controller.queue import Key
from slipway.registry import (
    InvalidModelUri,
    ModelReference,
    Pointer,
    RegistryError,
    UnreadableAnswer,
    parse_model_reference,
)
from slipway.registry import RegistryUnavailable as Unavailable

log = logging.getLogger(__name__)
AWAY, NOT_FOUND = "RegistryAway", "AliasNotFound"
MAX_TROUBLE_CHARS = 300
ReadAliases = Callable[[str], Awaitable[Mapping[str, Pointer]]]
"""``await read(model)`` → Pointer by alias; raises RegistryError."""


@dataclass(frozen=True)
class Lost:
    """Why an alias cannot be followed: AWAY or NOT_FOUND, and a sentence."""

    reason: str
    message: str


@dataclass
class AliasWatch:
    """``trouble`` says why the registry cannot be asked, empty while it can; ``refused`` says it of single models."""

    read: ReadAliases
    objects: Callable[[], Mapping[Key, Mapping[str, Any]]]
    interval_s: float
    trouble: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    _pointers: dict[str, Mapping[str, Pointer]] = field(default_factory=dict)

    async def look(self) -> set[Key]:
        """The SeldonDeployments that a news concerns. One request per model, none more after one without an answer."""
        followers = self._followers()
        concerned: set[Key] = set()
        trouble = ""
        for model in sorted(followers):
            try:
                pointers = await self.read(model)
            except RegistryError as error:
                if isinstance(error, Unavailable) and not isinstance(error, UnreadableAnswer):
                    trouble = _short(error)
                    break
                if self.refused.get(model) != _short(error):
                    self.refused[model] = _short(error)
                    concerned |= followers[model]
                continue
            if self.refused.pop(model, None) is not None or self._pointers.get(model) != pointers:
                self._pointers[model] = pointers
                concerned |= followers[model]
        if bool(trouble) != bool(self.trouble):
            log.warning("followed aliases: %s", trouble or "the registry answers again")
            concerned.update(*followers.values())
        self.trouble = trouble if not (trouble and self.trouble) else self.trouble
        self._forget(followers.keys())
        return concerned

    def pointer(self, uri: str) -> Pointer | None:
        """Where the alias of ``models:/name@alias`` pointed at the last look; None where that is not known."""
        reference = parse_model_reference(uri)
        return self._pointers.get(reference.name, {}).get(reference.alias or "")

    def lost(self, uri: str) -> Lost | None:
        """Why this alias cannot be followed now; None while it can."""
        reference = parse_model_reference(uri)
        if self.trouble:
            return Lost(AWAY, self.trouble)
        if refused := self.refused.get(reference.name):
            return Lost(NOT_FOUND, refused)
        if reference.name in self._pointers and self.pointer(uri) is None:
            return Lost(NOT_FOUND, f"{uri}: the registry has no such alias any more")
        return None

    def _forget(self, models: Iterable[str]) -> None:
        """What nobody follows any more."""
        kept = set(models)
        for known in (self._pointers, self.refused):
            for model in known.keys() - kept:
                del known[model]

    def _followers(self) -> dict[str, set[Key]]:
        """SeldonDeployments by the model that they follow."""
        found: dict[str, set[Key]] = {}
        for key, obj in self.objects().items():
            for reference in _followed_references(obj):
                found.setdefault(reference.name, set()).add(key)
        return found


def _followed_references(obj: Mapping[str, Any]) -> list[ModelReference]:
    """Nothing for an object that cannot be read: its status says so."""
    if "deletionTimestamp" in obj["metadata"] or not _mentions_following(obj.get("spec")):
        return []
    try:
        places = followed(SeldonDeployment.from_json(obj)).values()
        return [parse_model_reference(uri) for nodes in places for uri in nodes.values()]
    except (FieldError, InvalidModelUri):
        return []


def _mentions_following(spec: Any) -> bool:
    """Without reading the whole of each object at each look."""
    places = [spec, *(spec.get("predictors") or ())] if isinstance(spec, Mapping) else []
    return any(isinstance(place, Mapping) and FOLLOW_ALIAS in (place.get("annotations") or {}) for place in places)


def _short(error: Exception) -> str:
    return str(error)[:MAX_TROUBLE_CHARS]
