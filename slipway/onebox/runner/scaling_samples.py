"""Points of the last seconds → one measurement each: what autoscalers compare with their targets."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping
from itertools import pairwise

from slipway.onebox.runner.hpa_metrics import Use
from slipway.onebox.runner.hpa_pods import Source
from slipway.onebox.runner.hpa_spec import MILLI
from slipway.onebox.runner.scaling_series import Counter, Gauge, Observations, Point

WINDOW_S = 15.0
"""A measurement is of so long a time: the resolution of Kubernetes' metrics-server."""
MAX_POINTS = 64
"""Of one source; far more than are taken in a window."""
MAX_MILLI = 10**15

Timed = tuple[float, Point]


class Samples:
    """Of every source the points of the last window. ``take`` them, then ``uses``."""

    def __init__(self) -> None:
        self._points: dict[Source, deque[Timed]] = {}

    def take(self, points: Mapping[Source, Point], now: float) -> None:
        for source, point in points.items():
            self._points.setdefault(source, deque(maxlen=MAX_POINTS)).append((now, point))

    def keep(self, uids: Collection[str], now: float) -> None:
        """Forget other Pods, and what is older than a window but for the one point that begins it."""
        for source, points in list(self._points.items()):
            while len(points) > 1 and points[1][0] <= now - WINDOW_S:
                points.popleft()
            if source.uid not in uids or points[-1][0] <= now - WINDOW_S:
                del self._points[source]

    def uses(self, now: float) -> dict[Source, Use]:
        """Each source that can be measured by now."""
        found = {source: measured(list(points), now) for source, points in self._points.items()}
        return {source: use for source, use in found.items() if use is not None}


def measured(points: list[Timed], now: float) -> Use | None:
    """Thousandths: the mean of a gauge, a counter's growth per second, the mean of what a histogram observed since.

    A counter that falls has begun anew, or one of several that it is the sum of: that step counts nothing. None where two points are needed, or the kind has changed.
    """
    first_at, (last_at, last) = points[0][0], points[-1]
    if any(type(point) is not type(last) for _, point in points):
        return None
    if isinstance(last, Gauge):
        return _use(sum(point.value for _, point in points if isinstance(point, Gauge)) / len(points), points, now)
    if last_at <= first_at:
        return None
    if isinstance(last, Counter):
        totals = [point.total for _, point in points if isinstance(point, Counter)]
        return _use(_growth(totals) / (last_at - first_at), points, now)
    observed = [point for _, point in points if isinstance(point, Observations)]
    count = _growth([point.count for point in observed])
    return _use(_growth([point.total for point in observed]) / count if count else 0.0, points, now)


def _growth(totals: list[float]) -> float:
    return sum(max(0.0, new - old) for old, new in pairwise(totals))


def _use(value: float, points: list[Timed], now: float) -> Use | None:
    """None for what is no number; an absurd one is cut."""
    if not math.isfinite(value):
        return None
    milli = round(max(0.0, min(value * MILLI, MAX_MILLI)))
    return Use(milli, now - points[-1][0], points[-1][0] - points[0][0])
