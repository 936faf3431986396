"""What ``status.following`` and the rollback annotation say, as typed values and as JSON.

A *revision* of a predictor that follows aliases is one set of model versions, one per followed node. At most two exist at
a time: the one that is wanted, and the one that served before it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from slipway.contract.fields import FieldError, Fields

MAX_SHOWN_VERSIONS = 3
"""In a revision's name; the hash tells more of them apart."""
MAX_REQUEST_CHARS = 4096
MAX_REASON_CHARS = 1000
UNITS_S = {"s": 1, "m": 60, "h": 3600}
DURATION = r"(0|[1-9][0-9]{0,4})[smh]"


@dataclass(frozen=True)
class NodeModel:
    """The version that one node runs, and the URI with the alias that named it."""

    node: str
    uri: str
    name: str
    version: str
    digest: str
    source: str

    @classmethod
    def read(cls, value: Any, path: str) -> NodeModel:
        fields = Fields.of(value, path)
        texts = {key: fields.required_text(key) for key in ("node", "uri", "name", "version", "source")}
        return cls(**texts, digest=fields.text("digest"))

    def __str__(self) -> str:
        return f"version {self.version}" + (f" {self.digest[:19]}" if self.digest else "")


@dataclass(frozen=True)
class Revision:
    """``models`` are sorted by node. ``name`` is part of the names of its Deployments."""

    name: str
    models: tuple[NodeModel, ...]

    @classmethod
    def of(cls, predictor: str, models: tuple[NodeModel, ...]) -> Revision:
        """The same versions of the same predictor always have the same name: ``v3-0a1b2c3d``."""
        ordered = tuple(sorted(models, key=lambda item: item.node))
        text = json.dumps([predictor, *([item.node, item.name, item.version, item.digest] for item in ordered)])
        shown = "-".join(item.version for item in ordered[:MAX_SHOWN_VERSIONS])
        return cls(f"v{shown}-{hashlib.sha256(text.encode()).hexdigest()[:8]}", ordered)

    @classmethod
    def read(cls, value: Any, path: str) -> Revision:
        fields = Fields.of(value, path)
        return cls(fields.required_text("name"), fields.items("models", NodeModel.read))

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """(node, URI) of each: revisions with other places belong to another graph."""
        return tuple((item.node, item.uri) for item in self.models)

    @property
    def versions(self) -> dict[str, str]:
        """By node."""
        return {item.node: item.version for item in self.models}


@dataclass(frozen=True)
class Following:
    """One predictor that follows aliases.

    ``serving`` names the revision that gets requests since ``since``, empty before the first. ``previous`` is kept warm
    until ``until``, without end while it serves (empty). Times are RFC 3339. ``rejected``: versions by node that were
    rolled back from; while the aliases point there they are not followed. ``rolled_back`` names the last revision that
    was. ``handled`` is the identity of the last rollback asked for, ``seen`` (by node) of the last recorded move of each
    alias. ``reason`` and ``last_error`` say why ``wanted`` does not serve.
    """

    predictor: str
    wanted: Revision
    previous: Revision | None = None
    serving: str = ""
    since: str = ""
    until: str = ""
    rejected: Mapping[str, str] = field(default_factory=dict)
    rolled_back: str = ""
    handled: str = ""
    seen: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    last_error: str = ""

    @classmethod
    def read(cls, value: Any, path: str = "status.following") -> Following:
        """Raises FieldError."""
        fields = Fields.of(value, path)
        wanted, previous = fields.required_child("wanted"), fields.child("previous")
        return cls(
            predictor=fields.required_text("predictor"),
            wanted=Revision.read(wanted.values, wanted.path),
            previous=None if previous is None else Revision.read(previous.values, previous.path),
            serving=fields.text("serving"),
            since=_time(fields, "since"),
            until=_time(fields, "until"),
            rejected=fields.texts("rejected"),
            rolled_back=fields.text("rolledBack"),
            handled=fields.text("handled"),
            seen=fields.texts("seen"),
            reason=fields.text("reason"),
            last_error=fields.text("lastError"),
        )

    @property
    def is_settled(self) -> bool:
        """Whether what is wanted serves."""
        return self.serving == self.wanted.name

    @property
    def revisions(self) -> tuple[Revision, ...]:
        return (self.wanted,) if self.previous is None else (self.wanted, self.previous)

    def revision(self, name: str) -> Revision | None:
        return next((item for item in self.revisions if item.name == name), None)

    def rejects(self, node: str, version: str, *, moved_at: str) -> bool:
        """Whether the alias of ``node``, which names ``version``, still names what was rolled back from.

        ``moved_at`` is the identity of the alias's last recorded move, empty for none: a new one means that somebody wants
        the version again, also where nobody saw the alias elsewhere in between.
        """
        return self.rejected.get(node) == version and moved_at in ("", self.seen.get(node))

    @property
    def plan(self) -> str:
        """What is going to change, in one line; empty when nothing is."""
        serving = self.revision(self.serving)
        return "" if self.is_settled or serving is None else plan_line(self.predictor, serving, self.wanted)

    def to_json(self) -> dict[str, Any]:
        pairs: dict[str, Any] = {
            "predictor": self.predictor,
            "serving": self.serving,
            "since": self.since,
            "plan": self.plan,
            "reason": self.reason,
            "lastError": self.last_error,
            "wanted": _revision_json(self.wanted),
            "previous": None if self.previous is None else _revision_json(self.previous),
            "until": self.until,
            "rejected": dict(self.rejected),
            "rolledBack": self.rolled_back,
            "handled": self.handled,
            "seen": dict(self.seen),
        }
        return {key: value for key, value in pairs.items() if value}


def _time(fields: Fields, key: str) -> str:
    """Empty, or RFC 3339 with a zone: who reads it computes with it."""
    text = fields.text(key)
    try:
        is_time = not text or datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        is_time = False
    if not is_time:
        raise FieldError(f"{fields.path}.{key}", f"{text!r} is no time: 2026-01-31T12:00:00Z is one")
    return text


def _revision_json(revision: Revision) -> dict[str, Any]:
    models = [{key: value for key, value in asdict(item).items() if value} for item in revision.models]
    return {"name": revision.name, "models": models}


def plan_line(predictor: str, old: Revision, new: Revision) -> str:
    """``stable: yolo-detector: models:/shapes@champion version 1 sha256:59e9… → version 2 sha256:88aa…``."""
    before = {item.node: item for item in old.models}
    changes = [
        f"{item.node}: {item.uri} {before.get(item.node, 'nothing')} → {item}"
        for item in new.models
        if item != before.get(item.node)
    ]
    return f"{predictor}: {'; '.join(changes) or 'the same versions'}"


@dataclass(frozen=True)
class RollbackRequest:
    """The value of the rollback annotation: ``predictor`` is to serve the revision ``to`` at once. ``at`` is its identity."""

    predictor: str
    to: str
    who: str
    at: str
    why: str = ""

    @classmethod
    def parse(cls, text: str, path: str) -> RollbackRequest:
        """Raises FieldError."""
        if len(text) > MAX_REQUEST_CHARS:
            raise FieldError(path, f"has {len(text)} characters, at most {MAX_REQUEST_CHARS} are possible")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FieldError(path, f"is not JSON ({error}): `slipway rollback` writes it") from error
        fields = Fields.of(value, path)
        texts = {key: printable(fields.required_text(key)) for key in ("predictor", "to", "who", "at")}
        return cls(**texts, why=printable(fields.text("why"))[:MAX_REASON_CHARS])

    def render(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def printable(text: str) -> str:
    """What a terminal shows as it is: the text is one person's, and is printed by whoever looks."""
    return "".join(character if character.isprintable() else " " for character in text)


def parse_duration_s(text: str) -> int:
    """``90s``, ``30m``, ``2h``; ValueError otherwise."""
    if not re.fullmatch(DURATION, text):
        raise ValueError(f"{text!r} is not a duration: write 90s, 30m or 2h")
    return int(text[:-1]) * UNITS_S[text[-1]]
