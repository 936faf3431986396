"""More work than there is capacity for: what is still done, how the rest is turned away, and how soon all is well. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slipway.drill.reply import Reply
from slipway.drill.verdict import Act, Findings

GOODPUT = 0.9
"""Of the peak, while too much comes."""
REFUSED_WITHIN_S = 0.05
"""99 % of refusals come in this time: they cost their callers nothing."""
SENT = 0.95
"""Of what was ordered, at least: a generator that cannot send it overloads nobody."""
PEAK_AFTER = 0.9
"""Of the peak before, at least: a platform that the overload harmed shall not lower what it is measured by."""
WELL_WITHIN_S = 5.0
WELL_LATENCY_S = 1.0
"""A valid reply within this time is one of a platform that is well."""


@dataclass(frozen=True)
class Overload:
    """``factor``: times ``peaks[0]`` requests a second, from ``start`` to ``end`` on time.monotonic.

    ``peaks``: measured before it and after it, so that what else the machine does counts for both sides.
    """

    factor: float
    peaks: tuple[float, float]
    start: float
    end: float

    @property
    def peak(self) -> float:
        return sum(self.peaks) / len(self.peaks)

    def goodput(self, replies: Sequence[Reply]) -> float:
        """Valid replies a second while it lasted."""
        done = sum(reply.is_valid and self.start <= reply.done < self.end for reply in replies)
        return done / (self.end - self.start)

    def sent(self, replies: Sequence[Reply]) -> float:
        """Requests a second that left the generator while it lasted."""
        return sum(self.start <= reply.sent < self.end for reply in replies) / (self.end - self.start)

    def well_after_s(self, calm: Sequence[Reply]) -> float:
        """Seconds from its end until a moderate load has no bad or slow reply any more."""
        bad = [
            reply.due - self.end
            for reply in calm
            if reply.due >= self.end and (not reply.is_valid or reply.latency_s > WELL_LATENCY_S)
        ]
        return max(bad, default=0.0)

    def act(self, calm: Sequence[Reply]) -> Act:
        return Act(f"{self.factor:g} times the peak", self.end, self.end + self.well_after_s(calm))

    def inspect(self, replies: Sequence[Reply], calm: Sequence[Reply]) -> Findings:
        """``replies``: all of them; ``calm``: those of the moderate load among them."""
        goodput, sent = self.goodput(replies), self.sent(replies)
        ordered = self.factor * self.peaks[0]
        note = f"goodput {goodput:.1f}/s of {self.peak:.1f}/s at the peak: {goodput / self.peak:.0%}"
        before, after = self.peaks
        asked_s = max((reply.due for reply in calm), default=self.end) - self.end
        broken = {
            f"{note}, {GOODPUT:.0%} promised": goodput < GOODPUT * self.peak,
            f"the generator sent {sent:.1f}/s of {ordered:.1f}/s": sent < SENT * ordered,
            f"whether all is well was asked until {asked_s:.1f} s after it": asked_s < WELL_WITHIN_S,
            f"the peak was {before:.1f}/s, and is {after:.1f}/s after it": after < PEAK_AFTER * before,
        }
        return Findings((note,), tuple(problem for problem, is_broken in broken.items() if is_broken))
