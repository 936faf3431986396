"""Everything that was seen, as one value: what the checks decide from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from slipway.doctor.question import Permission, Probe, Question

Object = dict[str, Any]
T = TypeVar("T")
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Unanswered:
    """Nothing is known, and why: not allowed to look, no answer in time."""

    why: str


class NotKnown(Exception):
    """A check cannot decide; the finding says why."""


@dataclass(frozen=True)
class Facts:
    """``served``: group and version of what the API serves, ``v1`` for the core group. ``at``: when it was looked.

    ``objects``: by question; a kind that the API does not serve has no objects. ``may``: reviews by permission.
    ``statuses``: the HTTP status that a probe was answered with.
    """

    namespace: str = "default"
    version: str = ""
    is_one_machine: bool = False
    at: datetime = EPOCH
    served: frozenset[str] = frozenset()
    answers: Mapping[Question, tuple[Object, ...] | Unanswered] = field(default_factory=dict)
    may: Mapping[Permission, bool | Unanswered] = field(default_factory=dict)
    statuses: Mapping[Probe, int | Unanswered] = field(default_factory=dict)

    def objects(self, question: Question) -> tuple[Object, ...]:
        """Raises NotKnown where the question was not answered."""
        return _known(self.answers.get(question, Unanswered("it was not asked")))

    def one(self, question: Question) -> Object | None:
        """The first object, None where there is none. Raises NotKnown."""
        return next(iter(self.objects(question)), None)

    def allowed(self, permission: Permission) -> bool:
        """Raises NotKnown."""
        return _known(self.may.get(permission, Unanswered("it was not asked")))

    def serves(self, group_version: str) -> bool:
        return group_version in self.served


def _known(answer: T | Unanswered) -> T:
    if isinstance(answer, Unanswered):
        raise NotKnown(answer.why)
    return answer
