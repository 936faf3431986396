"""Requests that the gateway sent to each predictor → its observed share, with an interval, beside the declared one. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

from slipway.cli.columns import render_columns
from slipway.contract.annotations import MATCH
from slipway.contract.callers import parse_group
from slipway.contract.names import predictor_service_name, service_host
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.drill.interval import MISS

STATS = r"^cluster\.outbound\|.*\.upstream_rq_(total|retry|active|pending_active)$"
"""What is read of Envoy, as a regular expression: retries are no further requests; the last two are what is under way."""
COUNTER = re.compile(
    r"cluster\.outbound\|(?P<port>\d+)\|(?P<subset>[^|]+)\|(?P<host>[^|]+)\.upstream_rq_(?P<what>total|retry|active|pending_active)"
)
Z = NormalDist().inv_cdf(1 - MISS / 2)
"""Standard deviations that a fair count leaves with probability MISS."""


@dataclass(frozen=True)
class PredictorShare:
    """Percent of the live predictors' requests; of a shadow, of the copies that could have been made.

    ``low`` and ``high`` enclose what the share may really be, but for one time in a million; ``observed`` is None
    without requests. ``effective`` is what is declared, without predictors that are not ready.

    The weights decide nothing about the requests of a group (`slipway.dev/match`), and they are counted with the
    others: of the predictor of a ``group`` only ``requests`` is told, and the others share among themselves what
    percentage is effective for them together.
    """

    predictor: str
    is_shadow: bool
    declared: float
    effective: float
    requests: int
    observed: float | None
    low: float
    high: float
    group: str = ""

    @property
    def is_outside(self) -> bool:
        return not self.low <= self.effective <= self.high


def requests_by_predictor(sdep: SeldonDeployment, stats: Mapping[str, int]) -> dict[str, int]:
    """Requests that came by the gateway's routes, REST and gRPC, from the counters of one Envoy.

    Each predictor has clusters of its own subset. What Pods call directly, past the split, is in others.
    """
    found = dict.fromkeys((predictor.name for predictor in sdep.predictors), 0)
    for name, what, value in _by_predictor(sdep, stats):
        found[name] += {"total": value, "retry": -value}.get(what, 0)
    return {name: max(count, 0) for name, count in found.items()}


def copies_under_way(sdep: SeldonDeployment, stats: Mapping[str, int]) -> int:
    """How many copies may not be counted yet whose requests are: those of live requests, and those that wait to go out.

    One more, because Envoy does not read its counters all at once.
    """
    shadows = {predictor.name for predictor in sdep.predictors if predictor.shadow}
    waiting = (
        value
        for name, what, value in _by_predictor(sdep, stats)
        if what == ("pending_active" if name in shadows else "active")
    )
    return 1 + sum(waiting)


def _by_predictor(sdep: SeldonDeployment, stats: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    """(predictor, what is counted, value)."""
    places = {
        (predictor.name, service_host(predictor_service_name(sdep.name, predictor), sdep.namespace))
        for predictor in sdep.predictors
    }
    for name, value in stats.items():
        match = COUNTER.fullmatch(name)
        if match and (match["subset"], match["host"]) in places:
            yield match["subset"], match["what"], value


def wilson(hits: int, trials: int, *, z: float = Z) -> tuple[float, float]:
    """Bounds of a share of which ``hits`` of ``trials`` were seen, from 0 to 1 (Wilson's score interval, 1927)."""
    if trials == 0:
        return 0.0, 1.0
    share, square = hits / trials, z * z
    middle = share + square / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    whole = 1 + square / trials
    low = 0.0 if hits == 0 else (middle - half) / whole
    high = 1.0 if hits == trials else (middle + half) / whole
    return low, high


def shares(
    sdep: SeldonDeployment, counts: Mapping[str, int], effective: Mapping[str, float], *, under_way: int = 0
) -> tuple[PredictorShare, ...]:
    """In the order of the manifest. ``effective``: percent by live predictor; a shadow that declares none gets all.

    ``under_way``: so many copies may be counted too few, or too many where they were under way when the window began.
    """
    live = [predictor.name for predictor in sdep.predictors if not predictor.shadow]
    total = sum(counts.get(name, 0) for name in live)
    by_weight = _by_weight(sdep, counts, effective)
    found = []
    for predictor in sdep.predictors:
        hits = counts.get(predictor.name, 0)
        declared = float(predictor.traffic)
        if live == [predictor.name] or (predictor.shadow and predictor.traffic == 0):
            declared = 100.0
        group = group_of(predictor)
        slack = under_way if predictor.shadow else 0
        trials, percent = (total, 100.0) if predictor.shadow else (0, 100.0) if group else by_weight
        low, _ = wilson(min(max(hits - slack, 0), trials), trials)
        _, high = wilson(min(hits + slack, trials), trials)
        found.append(
            PredictorShare(
                predictor=predictor.name,
                is_shadow=predictor.shadow,
                declared=declared,
                effective=declared if predictor.shadow else effective.get(predictor.name, 0.0),
                requests=hits,
                observed=percent * hits / trials if trials else None,
                low=percent * low,
                high=percent * high,
                group=group,
            )
        )
    return tuple(found)


def _by_weight(sdep: SeldonDeployment, counts: Mapping[str, int], effective: Mapping[str, float]) -> tuple[int, float]:
    """The requests that the weights gave to predictors without a group, and the percentage that is theirs together."""
    live = [predictor for predictor in sdep.predictors if not predictor.shadow]
    plain = [predictor.name for predictor in live if not group_of(predictor)]
    percent = sum(effective.get(name, 0.0) for name in plain)
    if len(plain) == len(live) or percent == 0:
        return sum(counts.get(predictor.name, 0) for predictor in live), 100.0
    return sum(counts.get(name, 0) for name in plain), percent


def group_of(predictor: PredictorSpec) -> str:
    """``header:x-group=b`` where callers of a group go to this predictor whatever the weights; else empty."""
    text = predictor.annotations.get(MATCH, "")
    return text if parse_group(text) and not predictor.shadow else ""


@dataclass(frozen=True)
class Split:
    """What was seen of one SeldonDeployment. ``notes`` say what may make the numbers differ."""

    name: str
    namespace: str
    seconds: float
    is_window: bool
    shares: tuple[PredictorShare, ...]
    notes: tuple[str, ...] = ()

    @property
    def sentences(self) -> Sequence[str]:
        """Of the predictors whose share is not what it should be."""
        return [
            f"{item.predictor}: the {'copies' if item.is_shadow else 'requests'} speak for a share from {item.low:.2f} to "
            f"{item.high:.2f} %, {item.effective:g} % is effective: so far off is chance once in a million times"
            for item in self.shares
            if item.observed is not None and item.is_outside
        ]

    @property
    def groups(self) -> Sequence[str]:
        """Of each predictor with a group, why it has no share."""
        return [
            f"{item.predictor}: requests with {item.group} come on top of its {item.effective:g} %, whatever the weights: "
            "its share is not judged, and the others' are without it"
            for item in self.shares
            if item.group
        ]

    def as_json(self) -> dict[str, Any]:
        rows = [{**asdict(item), "isOutside": item.observed is not None and item.is_outside} for item in self.shares]
        return {**asdict(self), "shares": rows, "sentences": list(self.sentences), "groups": list(self.groups)}


def render_split(split: Split) -> str:
    """A table, then the sentences and the notes; a shadow's share is of the copies."""
    header = ["PREDICTOR", "DECLARED", "EFFECTIVE", "REQUESTS", "OBSERVED", "INTERVAL"]
    rows = [_row(item) for item in split.shares]
    window = f"{split.seconds:.0f} s" if split.is_window else f"since the Envoys started {split.seconds:.0f} s ago"
    return "\n".join(
        [
            render_columns([header, *rows]),
            "",
            window,
            *split.sentences,
            *(f"note: {note}" for note in (*split.groups, *split.notes)),
        ]
    )


def _row(item: PredictorShare) -> list[str]:
    seen = "none" if item.observed is None else f"{item.observed:.2f} %"
    interval = "" if item.observed is None else f"{item.low:.2f} to {item.high:.2f} %"
    name = f"{item.predictor} (shadow)" if item.is_shadow else item.predictor
    return [name, f"{item.declared:g} %", f"{item.effective:g} %", str(item.requests), seen, interval]
