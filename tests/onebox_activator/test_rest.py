"""When a Deployment rests and when it wakes, for any traffic."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.activator.rest import (
    COOLDOWN_S,
    Activity,
    Bounds,
    Traffic,
    is_starting,
    observe,
    read_bounds,
    wanted_replicas,
)

BOUNDS = st.builds(Bounds, st.booleans(), st.integers(1, 5), st.floats(0, 600))
ACTIVITIES = st.builds(Activity, st.floats(0, 1000), st.none() | st.integers(0, 10))
NOW = st.floats(0, 2000)
REPLICAS = st.integers(0, 8)
TRAFFIC = st.none() | st.builds(Traffic, st.integers(0, 10), st.integers(0, 3))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, Bounds(True, 1, COOLDOWN_S)),  # KEDA's default is 0
        ({"minReplicaCount": 0, "cooldownPeriod": 5}, Bounds(True, 1, 5.0)),
        ({"minReplicaCount": 2}, Bounds(False, 2, COOLDOWN_S)),
        ({"minReplicaCount": 2, "idleReplicaCount": 0}, Bounds(True, 2, COOLDOWN_S)),
        ({"minReplicaCount": -1, "cooldownPeriod": "soon"}, Bounds(False, 1, COOLDOWN_S)),
    ],
)
def test_bounds_are_read_as_keda_reads_them(spec: dict[str, Any], expected: Bounds) -> None:
    assert read_bounds({"spec": spec}) == expected


@given(BOUNDS, REPLICAS, ACTIVITIES, st.integers(0, 5), NOW)
def test_rest_only_after_the_cooldown_and_only_where_allowed(
    bounds: Bounds, replicas: int, activity: Activity, held: int, now: float
) -> None:
    if wanted_replicas(bounds, replicas, activity, held=held, now=now) == 0:
        assert bounds.rests
        assert replicas > 0
        assert not held
        assert now - activity.busy_at >= bounds.cooldown_s


@given(BOUNDS, ACTIVITIES, st.integers(1, 5), NOW)
def test_request_that_waits_wakes_whatever_was_seen(bounds: Bounds, activity: Activity, held: int, now: float) -> None:
    assert wanted_replicas(bounds, 0, activity, held=held, now=now) == bounds.awake


@given(BOUNDS, REPLICAS, ACTIVITIES, st.integers(0, 5), NOW)
def test_second_look_wants_nothing_more(
    bounds: Bounds, replicas: int, activity: Activity, held: int, now: float
) -> None:
    wanted = wanted_replicas(bounds, replicas, activity, held=held, now=now)
    if wanted is not None:
        after = Activity(now, activity.total)  # what the scaler remembers when it has written the number
        again = wanted_replicas(bounds, wanted, after, held=held, now=now)
        assert again in {None, wanted} or (again == 0 and bounds.cooldown_s == 0)


@given(BOUNDS, REPLICAS, ACTIVITIES, NOW)
def test_more_replicas_than_the_least_are_left_to_others(
    bounds: Bounds, replicas: int, activity: Activity, now: float
) -> None:
    wanted = wanted_replicas(bounds, replicas, activity, held=0, now=now)
    assert wanted in {None, 0} or (replicas < bounds.awake and wanted == bounds.awake)


@given(st.none() | ACTIVITIES, TRAFFIC, st.booleans(), NOW)
def test_quiet_is_what_was_read_and_did_not_change(
    old: Activity | None, traffic: Traffic | None, at_work: bool, now: float
) -> None:
    new = observe(old, traffic, at_work=at_work, now=now)
    is_quiet = old is not None and traffic == Traffic(old.total if old.total is not None else -1, 0) and not at_work
    assert new == (old if is_quiet else Activity(now, traffic.total if traffic else None))


@given(st.lists(TRAFFIC, min_size=1, max_size=20), st.floats(0.1, 100))
def test_never_to_rest_within_the_cooldown_of_traffic(looks: list[Traffic | None], cooldown_s: float) -> None:
    """A look each second. Whatever was counted, going to rest means that nothing came for a whole cooldown."""
    bounds, activity, last_change = Bounds(True, 1, cooldown_s), None, 0.0
    before: Traffic | None = None
    for now, traffic in enumerate(looks):
        if now == 0 or traffic is None or before is None or traffic.active or traffic.total != before.total:
            last_change = float(now)
        activity, before = observe(activity, traffic, at_work=False, now=float(now)), traffic
        if wanted_replicas(bounds, 1, activity, held=0, now=float(now)) == 0:
            assert now - last_change >= cooldown_s


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, True),
        ({"readyReplicas": 1}, False),
        ({"conditions": [{"type": "Progressing", "status": "True"}]}, True),
        ({"conditions": [{"type": "Progressing", "status": "False"}]}, False),
    ],
)
def test_starting_is_neither_ready_nor_given_up(status: dict[str, Any], expected: bool) -> None:
    assert is_starting({"status": status}) is expected
