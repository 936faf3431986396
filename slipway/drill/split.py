"""Whether what the two predictors got is what was declared, cycle by cycle pooled. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from slipway.drill.interval import binomial_bounds
from slipway.drill.reply import Reply
from slipway.drill.subject import CANARY
from slipway.drill.verdict import Act, Findings


def inspect_split(replies: Sequence[Reply], acts: Sequence[Act]) -> Findings:
    """``acts``: named after the percentage that counts from ``well_at`` to the next act's ``at``."""
    pooled: dict[int, list[bool]] = defaultdict(list)
    for percent, start, end in _windows(acts):
        pooled[percent] += [one.predictor == CANARY for one in replies if one.is_valid and start <= one.sent < end]
    notes, problems = [], []
    for percent, hits in sorted(pooled.items()):
        low, high = binomial_bounds(len(hits), percent / 100)
        note = f"{percent} % declared: {sum(hits)} of {len(hits)} replies, {low} to {high} expected"
        notes.append(note)
        if not low <= sum(hits) <= high:
            problems.append(note)
        elif hits and 0 < percent < 100 and (low == 0 or high == len(hits)):
            problems.append(f"{note}: too few to tell it from none or all")
    unseen = [f"{percent} %" for percent, hits in sorted(pooled.items()) if not hits]
    if unseen or not pooled:
        problems.append(f"no reply between two changes: {', '.join(unseen) or 'a split'} was not seen")
    return Findings(tuple(notes), tuple(problems))


def _windows(acts: Sequence[Act]) -> Iterator[tuple[int, float, float]]:
    """Percentage, start, end; the last act's lasts as long as there are replies."""
    ends = [*(act.at for act in acts[1:]), float("inf")]
    for act, end in zip(acts, ends, strict=True):
        if act.well_at is not None:
            yield int(act.name), act.well_at, end
