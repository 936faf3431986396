"""What a VirtualService's annotations add to Istio: buckets of callers, and a limit of requests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.contract.annotations import BUCKETS, PREFIX, RATE, RATE_LIMIT, STICKY
from slipway.contract.buckets import Runs, assign, parse_runs
from slipway.contract.callers import Caller, parse_caller
from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.ir import Cluster, RateLimit, WeightedCluster

PERIODS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
READ_ELSEWHERE = frozenset({f"{PREFIX}applied"})


@dataclass(frozen=True)
class OwnKnobs:
    """``buckets``: the declared assignment; empty where it is not known, then it is made from the weights alone."""

    sticky: Caller | None = None
    buckets: Runs = ()
    rate_limit: RateLimit | None = None

    def spread(self, declared: Sequence[tuple[Cluster | None, int]]) -> tuple[WeightedCluster, ...]:
        """Runs of buckets as weights, in order; what is not ready lends its buckets to the others, who keep theirs."""
        ready = {owner_of(cluster): cluster.name for cluster, _ in declared if cluster and cluster.endpoints}
        before = assign(self.buckets, {owner_of(cluster): weight for cluster, weight in declared if cluster})
        runs = assign(
            before, {owner_of(cluster): weight for cluster, weight in declared if cluster and cluster.endpoints}
        )
        return tuple(WeightedCluster(ready[owner], count) for owner, count in runs)


def owner_of(cluster: Cluster) -> str:
    """Whose buckets they are: REST and gRPC of one predictor have the same."""
    return cluster.predictor or cluster.name


def read_own_knobs(obj: Mapping[str, Any], reader: Reader) -> OwnKnobs:
    """From the annotations; what cannot be read is a finding, and without effect."""
    given = {str(key): str(value) for key, value in (obj["metadata"].get("annotations") or {}).items()}
    for name in sorted(given):
        if name.startswith(PREFIX) and name not in {STICKY, BUCKETS, RATE_LIMIT} | READ_ELSEWHERE:
            _report(reader, name, f"is not one of {STICKY}, {RATE_LIMIT}: it has no effect")
    sticky = parse_caller(given.get(STICKY, ""))
    if STICKY in given and sticky is None:
        _report(
            reader, STICKY, f"{given[STICKY][:80]!r} is not header:name or cookie:name: requests are split by chance"
        )
    limit = given.get(RATE_LIMIT, "")
    is_limit = re.fullmatch(RATE, limit) is not None
    if limit and not is_limit:
        _report(reader, RATE_LIMIT, f"{limit[:80]!r} is not a rate such as 100/s: there is no limit")
    count, _, unit = limit.partition("/")
    return OwnKnobs(
        sticky, parse_runs(given.get(BUCKETS, "")), RateLimit(int(count), PERIODS_S[unit]) if is_limit else None
    )


def _report(reader: Reader, name: str, message: str) -> None:
    reader.at("metadata.annotations").report(name, message)
