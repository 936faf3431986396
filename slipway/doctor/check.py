"""One check: its name, what it needs to know, and how it decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from slipway.doctor.facts import Facts, NotKnown
from slipway.doctor.finding import Finding, Level
from slipway.doctor.question import Permission, Question
from slipway.kube.malformed import MALFORMED

Said = tuple[Level, str, str] | tuple[Level, str, str, str]
"""Level, where, what, and where it helps the repair."""


@dataclass(frozen=True)
class Check:
    """``decide`` says of the facts what there is to say; it may raise NotKnown.

    ``instead``: why it means nothing on one machine; empty where it does.
    """

    name: str
    decide: Callable[[Facts], Iterable[Said]]
    questions: Sequence[Question] = ()
    permissions: Callable[[str], Sequence[Permission]] = lambda _: ()
    instead: str = ""

    def findings(self, facts: Facts) -> list[Finding]:
        if facts.is_one_machine and self.instead:
            return [Finding("n/a", self.name, "", self.instead)]
        found = []
        try:
            for said in self.decide(facts):
                found.append(Finding(said[0], self.name, *said[1:]))  # noqa: PERF401  - what was said before NotKnown stays
        except NotKnown as error:
            found.append(Finding("unknown", self.name, "", str(error)))
        except MALFORMED as error:
            text = f"an object has another form than its kind's: {type(error).__name__}: {error}"
            found.append(Finding("unknown", self.name, "", text))
        return found
