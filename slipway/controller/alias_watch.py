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
    """``trouble`` says why the registry cannot be asked, empty while it can; ``refused`` says it of single models.

    ``silent``: of models that had no answer when they were asked last, why; who waits longest comes first.
    """

    read: ReadAliases
    objects: Callable[[], Mapping[Key, Mapping[str, Any]]]
    interval_s: float
    trouble: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    _pointers: dict[str, Mapping[str, Pointer]] = field(default_factory=dict)

    async def look(self) -> set[Key]:
        """The SeldonDeployments that a news concerns. One request per model, none more after one without an answer.

        Models that had no answer come last: one that never gets any keeps nobody else from following.
        """
        followers = self._followers()
        self._forget(followers.keys())
        concerned: set[Key] = set()
        trouble, is_answering = "", False
        for model in [*sorted(followers.keys() - self.silent.keys()), *self.silent]:
            try:
                is_news = self._keep(model, await self.read(model))
            except RegistryError as error:
                is_silent = isinstance(error, Unavailable) and not isinstance(error, UnreadableAnswer)
                is_news = self._keep_silent(model, error) if is_silent else self._keep_refused(model, error)
                if is_silent and not is_answering:  # then all who follow are told below
                    trouble, is_news = _short(error), False
            else:
                is_silent = False
            concerned |= followers[model] if is_news else set()
            if is_silent:
                break
            is_answering = True
        if bool(trouble) != bool(self.trouble):
            log.warning("followed aliases: %s", trouble or "the registry answers again")
            concerned.update(*followers.values())
        self.trouble = trouble if not (trouble and self.trouble) else self.trouble
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
        if silent := self.silent.get(reference.name):
            return Lost(AWAY, silent)
        if refused := self.refused.get(reference.name):
            return Lost(NOT_FOUND, refused)
        if reference.name in self._pointers and self.pointer(uri) is None:
            return Lost(NOT_FOUND, f"{uri}: the registry has no such alias any more")
        return None

    def _keep(self, model: str, pointers: Mapping[str, Pointer]) -> bool:
        """Whether that is news."""
        was_lost = {self.silent.pop(model, None), self.refused.pop(model, None)} != {None}
        is_news = was_lost or self._pointers.get(model) != pointers
        self._pointers[model] = pointers
        return is_news

    def _keep_refused(self, model: str, error: RegistryError) -> bool:
        was_silent = self.silent.pop(model, None) is not None
        before, self.refused[model] = self.refused.get(model), _short(error)
        return was_silent or before != self.refused[model]

    def _keep_silent(self, model: str, error: RegistryError) -> bool:
        """It is asked after all others from now on."""
        was_silent = self.silent.pop(model, None) is not None
        self.silent[model] = _short(error)
        return not was_silent

    def _forget(self, models: Iterable[str]) -> None:
        """What nobody follows any more."""
        kept = set(models)
        for known in (self._pointers, self.refused, self.silent):
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
