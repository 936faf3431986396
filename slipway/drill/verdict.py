"""Replies and what was done to the other side → one row, and which promises it breaks. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from slipway.drill.boxes import same_boxes
from slipway.drill.reply import Detection, Effort, Reply

REFUSALS = frozenset({429, 503})
MOST_LOSSES = 5
NUMBERS = re.compile(r"[0-9][0-9.]*")
Rest = Mapping[tuple[str, int], Sequence[Detection]]
"""(model version, photo) → the boxes that it answers when nothing else goes on."""


@dataclass(frozen=True)
class Act:
    """One thing that was done: when it was, and when all was well again (None: it never was)."""

    name: str
    at: float
    well_at: float | None

    @property
    def recovery_s(self) -> float:
        return math.inf if self.well_at is None else self.well_at - self.at


@dataclass(frozen=True)
class Promise:
    """The most that a row may show; None: nothing is promised."""

    lost: int | None = 0
    wrong: int = 0
    refused_tries: int | None = None
    gap_s: float | None = None
    recovery_s: float | None = None
    refused_p99_s: float | None = None
    """What is set here allows refusals: there is more work than anybody could do. 99 % of them come in this time."""


@dataclass(frozen=True)
class Findings:
    """Of one drill beyond what every row says: ``notes`` to read, ``problems`` that break it."""

    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        return Findings(self.notes + other.notes, self.problems + other.problems)


@dataclass(frozen=True)
class Row:
    """One line of the table. Times in ms and s; infinite where it did not come back.

    ``lost_before``: of ``lost``, what was over before anything was done to the platform. ``losses``: what was said instead
    of boxes, and how often. ``problems``: what was broken.
    """

    drill: str
    without: tuple[str, ...]
    acts: int
    rate: float
    sent: int
    answered: int
    refused: int
    refused_p99_ms: float
    lost: int
    lost_before: int
    wrong: int
    tried_again: int
    refused_tries: int
    p50_ms: float
    p99_ms: float
    gap_s: float
    recovery_s: float
    generator_cpu: float
    generator_late_s: float
    losses: tuple[tuple[str, int], ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    problems: tuple[str, ...] = field(default=())

    @property
    def is_kept(self) -> bool:
        return not self.problems


def is_lost(reply: Reply, promise: Promise) -> bool:
    """No valid reply in its time, nor a refusal where one is allowed."""
    return not reply.is_valid and not (promise.refused_p99_s is not None and is_refused(reply))


def is_refused(reply: Reply) -> bool:
    """Told to come back later."""
    return reply.status in REFUSALS


def is_wrong(reply: Reply, rest: Rest) -> bool:
    """A valid reply whose boxes differ from the same photo's at rest; a model that was never seen at rest is wrong too."""
    if not reply.is_valid:
        return False
    expected = rest.get((reply.model, reply.photo))
    return expected is None or not same_boxes(reply.detections, expected)


def rest_of(replies: Sequence[Reply]) -> dict[tuple[str, int], Sequence[Detection]]:
    """What answers at rest were; ValueError where a photo has none, or no photo has a box: all answers would be right."""
    found: dict[tuple[str, int], Sequence[Detection]] = {}
    for reply in replies:
        if not reply.is_valid:
            raise ValueError(f"photo {reply.photo} has no answer at rest: {reply.status} {reply.error}")
        found[reply.model, reply.photo] = reply.detections
    if not any(found.values()):
        raise ValueError(f"{len(found)} photos have not one box at rest: others show whether answers are right")
    return found


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed; 0 where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def longest_gap_s(replies: Sequence[Reply]) -> float:
    """The longest time between two valid replies, from the first request that was due to the last reply of all."""
    if not replies:
        return 0.0
    times = sorted(reply.done for reply in replies if reply.is_valid)
    points = [min(reply.due for reply in replies), *times, max(reply.done for reply in replies)]
    return max(after - before for before, after in pairwise(points))


def judge(
    drill: str,
    replies: Sequence[Reply],
    *,
    rest: Rest,
    acts: Sequence[Act],
    promise: Promise,
    rate: float,
    effort: Effort,
    begun: float = -math.inf,
    without: Sequence[str] = (),
    findings: Findings | None = None,
) -> Row:
    """The row of a drill. ``begun``: when the first thing was done; what is lost before was not well to begin with."""
    latencies = [reply.latency_s * 1000 for reply in replies if reply.is_valid]
    # From when it was sent: the generator's own delays are not the other side's.
    refusals = [(reply.done - reply.sent) * 1000 for reply in replies if is_refused(reply)]
    row = Row(
        drill=drill,
        without=tuple(sorted(without)),
        acts=len(acts),
        rate=rate,
        sent=len(replies),
        answered=len(latencies),
        refused=len(refusals),
        refused_p99_ms=quantile(refusals, 0.99),
        lost=sum(is_lost(reply, promise) for reply in replies),
        lost_before=sum(reply.done < begun and is_lost(reply, promise) for reply in replies),
        wrong=sum(is_wrong(reply, rest) for reply in replies),
        tried_again=sum(reply.tries > 1 for reply in replies),
        refused_tries=sum(reply.refused for reply in replies),
        p50_ms=quantile(latencies, 0.5),
        p99_ms=quantile(latencies, 0.99),
        gap_s=longest_gap_s(replies),
        recovery_s=max((act.recovery_s for act in acts), default=0.0),
        generator_cpu=effort.cpu_share,
        generator_late_s=effort.late_s,
        losses=_losses([reply for reply in replies if is_lost(reply, promise)]),
    )
    more = findings or Findings()
    return replace(row, notes=more.notes, problems=(*_problems(row, promise), *more.problems))


def _losses(replies: Sequence[Reply]) -> tuple[tuple[str, int], ...]:
    """The most frequent first; numbers inside a text do not make it another one."""
    said = Counter(f"HTTP {reply.status}: {NUMBERS.sub('#', reply.error)}" for reply in replies)
    return tuple(said.most_common(MOST_LOSSES))


def _problems(row: Row, promise: Promise) -> list[str]:
    """Each broken promise as a sentence."""
    refused_p99_s = row.refused_p99_ms / 1000
    limits: list[tuple[str, float, float | None, str]] = [
        ("lost", row.lost, promise.lost, ""),
        ("before anything was done: lost", row.lost_before, 0, ""),
        ("wrong", row.wrong, promise.wrong, ""),
        ("refused tries", row.refused_tries, promise.refused_tries, ""),
        ("99 % of refusals within", refused_p99_s, promise.refused_p99_s, " s"),
        ("longest gap", row.gap_s, promise.gap_s, " s"),
        ("recovery", row.recovery_s, promise.recovery_s, " s"),
    ]
    found = [
        f"{what} {value:.4g}{unit}, {limit:g}{unit} promised"
        for what, value, limit, unit in limits
        if limit is not None and value > limit
    ]
    if not row.sent:
        found.append("nothing was sent")
    if not row.acts:
        found.append("nothing was done to the platform")
    return found
