"""Buckets: exact shares, nobody moved without need, few runs; over any history of splits."""

from __future__ import annotations

from collections import Counter
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.buckets import BUCKETS, Runs, assign, parse_runs, quotas, render_runs

NAMES = ("a", "b", "c", "d")


@st.composite
def percents(draw) -> dict[str, int]:
    """One to four predictors that add up to 100."""
    names = draw(st.permutations(NAMES))[: draw(st.integers(1, len(NAMES)))]
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(names) - 1, max_size=len(names) - 1)))
    return dict(zip(names, (high - low for low, high in pairwise([0, *cuts, 100])), strict=True))


def owners(runs: Runs) -> list[str]:
    return list(chain.from_iterable([name] * count for name, count in runs))


def history(splits: list[dict[str, int]]) -> list[Runs]:
    found: list[Runs] = [()]
    for split in splits:
        found.append(assign(found[-1], split))
    return found[1:]


@given(st.lists(percents(), min_size=1, max_size=8))
def test_shares_are_exact_after_any_history(splits):
    for split, runs in zip(splits, history(splits), strict=True):
        assert Counter(owners(runs)) == {name: share * 100 for name, share in split.items() if share}


@given(st.lists(percents(), min_size=2, max_size=8))
def test_nobody_leaves_a_predictor_whose_share_does_not_shrink_and_moves_are_minimal(splits):
    for (old, new), (before, after) in zip(pairwise(splits), pairwise(history(splits)), strict=True):
        moved = [(was, now) for was, now in zip(owners(before), owners(after), strict=True) if was != now]
        assert len(moved) == 100 * sum(max(old.get(name, 0) - new.get(name, 0), 0) for name in NAMES)
        assert all(new.get(was, 0) < old[was] for was, _ in moved)
        assert all(new[now] > old.get(now, 0) for _, now in moved)


@given(st.lists(percents(), min_size=1, max_size=8), st.sets(st.sampled_from(NAMES)))
def test_unready_predictor_takes_nobody_along_and_gets_its_own_back(splits, ready):
    runs = history(splits)[-1]
    meanwhile = assign(runs, {name: share for name, share in splits[-1].items() if name in ready})
    if meanwhile:
        stayed = [(was, now) for was, now in zip(owners(runs), owners(meanwhile), strict=True) if was in ready]
        assert all(was == now for was, now in stayed)
    assert assign(runs, splits[-1]) == runs


@given(st.lists(percents(), min_size=1, max_size=30))
def test_runs_stay_as_few_as_whole_percents_allow(splits):
    for runs in history(splits):
        assert len(runs) <= 100
        assert all(was != now for (was, _), (now, _) in pairwise(runs))
        assert parse_runs(render_runs(runs)) == runs


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 7)))
def test_any_shares_are_dealt_out_whole(shares):
    found = quotas(shares)
    whole = sum(shares.values())
    assert sum(found.values()) == (BUCKETS if whole else 0)
    assert all(abs(count - shares[name] * BUCKETS / whole) < 1 for name, count in found.items())
    assert Counter(owners(assign((), shares))) == found


def test_raised_canary_grows_beside_itself():
    assert history([{"stable": 90, "canary": 10}, {"stable": 75, "canary": 25}, {"stable": 95, "canary": 5}]) == [
        (("stable", 9000), ("canary", 1000)),
        (("stable", 7500), ("canary", 2500)),
        (("stable", 7500), ("canary", 500), ("stable", 2000)),
    ]


def test_nothing_is_dealt_out_where_all_shares_are_0():
    assert assign((("a", BUCKETS),), {"a": 0}) == ()


@pytest.mark.parametrize(
    "text", ["", "a", "a=10001", "a=9999", "a=5000,b=4999", "a=0,b=10000", "A=10000", "a=5000;b=5000", "a=1," * 10_000]
)
def test_text_that_is_no_whole_assignment_is_none(text):
    assert parse_runs(text) == ()


@given(st.text())
def test_any_text_is_read_or_none(text):
    runs = parse_runs(text)
    assert sum(count for _, count in runs) in (0, BUCKETS)
