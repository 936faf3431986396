"""Which users are whose: 10,000 buckets dealt out to predictors so that a change of the shares moves as few as possible.

A user's bucket is a hash of a header or cookie, for ever the same. No rule that knows only the shares can move as few as
possible between any two splits of three predictors (each predictor's buckets would depend on its own share alone, and two
of 50 % would have to be apart from each other and from the third's), so the next assignment is made from the present one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

BUCKETS = 10_000
MAX_RUNS = 200
"""Of one assignment that is read: whole percents make at most 100."""
Runs = tuple[tuple[str, int], ...]
"""(owner, how many buckets), in the order of the buckets; they add up to BUCKETS."""
_RUN = re.compile(r"([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)=([1-9][0-9]{0,4})")


def assign(before: Runs, shares: Mapping[str, int]) -> Runs:
    """The assignment of ``shares`` (any whole numbers, in proportion) that takes as few buckets as possible elsewhere.

    Nobody whose part does not shrink loses a bucket. Exact where BUCKETS can be divided so; else the largest remainders
    get one more. Without ``before`` the buckets are dealt out in the order of ``shares``. Empty where all shares are 0.
    """
    wanted = quotas(shares)
    if not wanted:
        return ()
    kept = _released(before or (("", BUCKETS),), wanted)
    missing = {name: count - _owned(kept, name) for name, count in wanted.items()}
    return _merged(_filled(kept, missing))


def quotas(shares: Mapping[str, int]) -> dict[str, int]:
    """Buckets of each owner with a share above 0, by the method of largest remainders (Hamilton's)."""
    live = {name: share for name, share in shares.items() if share > 0}
    whole = sum(live.values())
    found = {name: share * BUCKETS // whole for name, share in live.items()}
    by_remainder = sorted(live, key=lambda name: -(live[name] * BUCKETS % whole))
    for name in by_remainder[: BUCKETS - sum(found.values())] if live else ():
        found[name] += 1
    return {name: count for name, count in found.items() if count}


def render_runs(runs: Runs) -> str:
    """``stable=9000,canary=1000``: the form in an annotation."""
    return ",".join(f"{name}={count}" for name, count in runs)


def parse_runs(text: str) -> Runs:
    """The opposite; empty for what is no whole assignment."""
    matches = [_RUN.fullmatch(part) for part in text.split(",", MAX_RUNS)]
    runs = tuple((match[1], int(match[2])) for match in matches if match)
    is_whole = len(runs) == len(matches) <= MAX_RUNS and sum(count for _, count in runs) == BUCKETS
    return runs if is_whole else ()


def _owned(runs: Iterable[tuple[str, int]], owner: str) -> int:
    return sum(count for name, count in runs if name == owner)


def _released(runs: Runs, wanted: Mapping[str, int]) -> list[tuple[str, int]]:
    """Those who have too much give up their last buckets; '' owns what is given up."""
    excess = {name: _owned(runs, name) - wanted.get(name, 0) for name, _ in runs}
    found: list[tuple[str, int]] = []
    for name, count in reversed(runs):
        given = min(count, max(excess[name], 0)) if name else count
        excess[name] -= given
        found += [("", given), (name, count - given)]
    return [run for run in _merged(reversed(found)) if run[1]]


def _filled(runs: Sequence[tuple[str, int]], missing: dict[str, int]) -> Iterable[tuple[str, int]]:
    """Gives what is free first to the neighbours, so that few runs come of it, then in the order of ``missing``."""
    for index, (name, count) in enumerate(runs):
        if name:
            yield name, count
            continue
        before = runs[index - 1][0] if index else ""
        after = runs[index + 1][0] if index + 1 < len(runs) else ""
        first, last = missing.get(before, 0), missing.get(after, 0)
        to_before = min(first, count)
        to_after = min(last, count - to_before) if after != before else 0
        rest = count - to_before - to_after
        missing |= {key: missing[key] - given for key, given in ((before, to_before), (after, to_after)) if given}
        yield before, to_before
        for other in missing:
            given = min(missing[other], rest) if missing[other] > 0 else 0
            missing[other] -= given
            rest -= given
            yield other, given
        yield after, to_after


def _merged(runs: Iterable[tuple[str, int]]) -> Runs:
    """Without empty runs, and with neighbours of one owner as one."""
    present = (run for run in runs if run[1])
    return tuple((name, sum(count for _, count in group)) for name, group in groupby(present, key=lambda run: run[0]))
