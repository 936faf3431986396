"""How alarms are raised: divergence, bins, thresholds that keep the declared rate, windows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers.drift.divergence import chance_thresholds, jensen_shannon
from model_wrappers.drift.facts import Seen
from model_wrappers.drift.histograms import FEATURES, OF_DETECTIONS, Bins, rows_of
from model_wrappers.drift.reference import PhotoFacts, Reference
from model_wrappers.drift.window import Window
from slipway.drill.interval import binomial_bounds

LABELS = ("ring", "cross", "star")
WINDOW = 50

COUNTS = st.lists(st.integers(0, 50), min_size=4, max_size=4).map(lambda counts: np.array(counts, float))


@given(some=COUNTS, others=COUNTS)
def test_divergence_is_symmetric_and_from_0_to_1(some: np.ndarray, others: np.ndarray) -> None:
    found = float(jensen_shannon(some, others))
    assert 0 <= found <= 1
    assert found == pytest.approx(float(jensen_shannon(others, some)))
    assert float(jensen_shannon(some, some * 3)) == pytest.approx(0, abs=1e-12)


def test_divergence_by_hand() -> None:
    """(1, 0) and (1/2, 1/2): the middle (3/4, 1/4) has 0.8113 bits, they have 0 and 1."""
    found = float(jensen_shannon(np.array([4.0, 0]), np.array([3.0, 3.0])))
    assert found == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)) - 0.5)
    assert float(jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0]))) == pytest.approx(1)
    assert float(jensen_shannon(np.zeros(2), np.array([0, 1.0]))) == 0


def photos(
    count: int,
    random: np.random.Generator,
    *,
    mean: float = 2.5,
    shares: tuple[float, ...] = (0.5, 0.3, 0.2),
    light: float = 120,
    score: float = 8,
    side: float = 3,
) -> list[PhotoFacts]:
    """Photos whose detections belong together: those of one photo are of one label and of about one size."""
    found = []
    for _ in range(count):
        label, scale = LABELS[random.choice(3, p=shares)], random.beta(side, 9)
        detections = tuple(
            Seen(
                label, float(0.25 + 0.75 * random.beta(score, 2)), float(np.clip(scale + random.normal(0, 0.02), 0, 1))
            )
            for _ in range(random.poisson(mean))
        )
        found.append(PhotoFacts(float(np.clip(random.normal(light, 25), 0, 255)), detections))
    return found


def alarms(reference: Reference, live: list[PhotoFacts], *, false_alarm: float) -> list[set[str]]:
    """The features that alarm, of each full window."""
    bins = Bins.of(reference, above=0.25)
    rows = rows_of(reference, bins, above=0.25)
    share = false_alarm / len(FEATURES)
    limits = chance_thresholds(rows, window=WINDOW, false_alarm=share)
    window = Window(WINDOW, {name: rows[name].sum(axis=0) for name in FEATURES}, limits)
    full = [window.add({**bins.of_detections(one.detections), **bins.of_brightness(one.brightness)}) for one in live]
    return [{name for name, verdict in found.items() if verdict.is_alarm} for found in full if found]


def test_same_kind_of_photos_alarms_no_more_often_than_declared() -> None:
    """24 references of 150 photos, 20 windows each. Detections of a photo belong together: a chi-squared test would not hold."""
    random, declared = np.random.default_rng(1), 0.05
    raised = []
    for _ in range(24):
        reference = Reference(0.05, LABELS, tuple(photos(150, random)))
        raised += alarms(reference, photos(20 * WINDOW, random), false_alarm=declared)
    assert len(raised) == 480
    _, high = binomial_bounds(len(raised), declared)
    assert sum(map(bool, raised)) <= high


def test_threshold_is_not_out_of_reach() -> None:
    random = np.random.default_rng(2)
    reference = Reference(0.05, LABELS, tuple(photos(150, random)))
    raised = alarms(reference, photos(40 * WINDOW, random), false_alarm=0.5)
    assert sum(map(bool, raised)) > 4


SHIFTS = {
    "brightness": {"light": 85},
    "classes": {"shares": (0.15, 0.3, 0.55)},
    "counts": {"mean": 0.8},
    "scores": {"score": 3},
    "sizes": {"side": 7},
}


@pytest.mark.parametrize("feature", SHIFTS)
def test_shift_alarms_in_its_own_feature_in_the_first_full_window(feature: str) -> None:
    random = np.random.default_rng(3)
    reference = Reference(0.05, LABELS, tuple(photos(300, random)))
    (raised,) = alarms(reference, photos(WINDOW, random, **SHIFTS[feature]), false_alarm=0.01)  # type: ignore[arg-type]
    assert feature in raised


def test_shift_in_the_middle_of_a_window_alarms_within_two_windows() -> None:
    random = np.random.default_rng(4)
    reference = Reference(0.05, LABELS, tuple(photos(300, random)))
    live = photos(3 * WINDOW + WINDOW // 2, random) + photos(2 * WINDOW, random, light=60)
    raised = alarms(reference, live, false_alarm=0.01)
    assert not any(raised[:3])
    assert any("brightness" in one for one in raised[3:5])


def threshold(rows: np.ndarray, *, window: int, false_alarm: float) -> float:
    return chance_thresholds({"any": rows}, window=window, false_alarm=false_alarm)["any"]


def test_threshold_falls_with_the_window_and_rises_with_certainty() -> None:
    rows = np.random.default_rng(5).poisson(1.0, (200, 6)).astype(float)
    small = threshold(rows, window=25, false_alarm=0.01)
    assert threshold(rows, window=400, false_alarm=0.01) < small < threshold(rows, window=25, false_alarm=0.001)
    assert small == threshold(rows, window=25, false_alarm=0.01)


def test_threshold_is_passed_by_the_declared_share_of_chance_windows() -> None:
    """Each reference is one draw: the share is that of many references together."""
    random, population, passed = np.random.default_rng(6), np.array([0.4, 0.3, 0.2, 0.1]), 0
    for _ in range(20):
        rows = np.eye(4)[random.choice(4, 300, p=population)]
        limit = threshold(rows, window=100, false_alarm=0.1)
        windows = random.multinomial(100, population, 50).astype(float)
        passed += int((jensen_shannon(windows, rows.sum(axis=0)) > limit).sum())
    assert 0.05 < passed / 1000 < 0.15


def test_bins_hold_as_many_values_of_the_reference_each() -> None:
    reference = Reference(0.05, LABELS, tuple(photos(400, np.random.default_rng(7))))
    bins = Bins.of(reference, above=0.25)
    totals = {name: rows.sum(axis=0) for name, rows in rows_of(reference, bins, above=0.25).items()}
    for feature in ("scores", "sizes", "brightness"):
        assert len(totals[feature]) == 10
        assert totals[feature].max() < 1.3 * totals[feature].min()
    assert totals["counts"].sum() == totals["brightness"].sum() == 400
    assert totals["classes"].sum() == totals["scores"].sum() + totals["counts"][0]


def test_bins_take_unknown_labels_and_photos_without_detections() -> None:
    bins = Bins(LABELS, (0.5,), (0.5,), (100.0,))
    nothing, unknown = bins.of_detections(()), bins.of_detections((Seen("moon", 0.9, 0.1),))
    assert nothing["classes"].tolist() == [0, 0, 0, 0, 1]
    assert unknown["classes"].tolist() == [0, 0, 0, 1, 0]
    assert nothing["scores"].tolist() == [0, 0]
    assert unknown["scores"].tolist() == [0, 1]
    assert bins.of_brightness(100.0)["brightness"].tolist() == [0, 1]


def test_values_that_are_all_equal_have_a_bin_of_their_own() -> None:
    """Photos of one camera at one exposure: brighter and darker ones are both elsewhere."""
    reference = Reference(0.05, LABELS, (PhotoFacts(128.0, (Seen("ring", 0.9, 0.3),)),) * 60)
    bins = Bins.of(reference, above=0.25)
    rows = [bins.of_brightness(level)["brightness"].tolist() for level in (127.99, 128.0, 128.01)]
    assert rows == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    larger = PhotoFacts(128.0, (Seen("ring", 0.9, 0.31),))
    assert alarms(reference, [larger] * WINDOW, false_alarm=0.01) == [{"sizes"}]


def test_reference_without_detections_has_bins_and_no_alarm_for_photos_without() -> None:
    random = np.random.default_rng(8)
    reference = Reference(0.05, LABELS, tuple(photos(100, random, mean=0.0)))
    assert alarms(reference, photos(WINDOW, random, mean=0.0), false_alarm=0.01) == [set()]
    assert {"classes", "counts"} <= alarms(reference, photos(WINDOW, random), false_alarm=0.01)[0]


def test_window_holds_no_more_after_many_photos() -> None:
    reference = {name: np.ones(3) for name in OF_DETECTIONS}
    window = Window(WINDOW, reference, dict.fromkeys(OF_DETECTIONS, 0.5))
    row = {name: np.array([1.0, 0, 0]) for name in OF_DETECTIONS}
    full = [bool(window.add(row)) for _ in range(10 * WINDOW)]
    assert [place for place, is_full in enumerate(full) if is_full] == [WINDOW * turn - 1 for turn in range(1, 11)]
    assert all(counts.sum() == 0 for counts in window._counts.values())
