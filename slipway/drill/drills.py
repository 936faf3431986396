"""Every drill: what it does, what it promises, and which switch makes it lose (its negative control)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from slipway.drill import strikes, subject
from slipway.drill.overload import REFUSED_WITHIN_S, WELL_WITHIN_S
from slipway.drill.reply import Reply
from slipway.drill.shadow import inspect_shadow
from slipway.drill.split import inspect_split
from slipway.drill.strikes import Strike
from slipway.drill.verdict import Act, Findings, Promise

SWITCHES = {
    "retries": "nobody tries again: neither the gateway (a route of its own with 0 attempts) nor the client",
    "drain": "the nodes of a Pod that shall go end at once, with what they are working on",
    "readiness": "the gateway sends requests to Pods that are not ready, too (publishNotReadyAddresses)",
    "limits": "the gateway lets all pass, and an executor takes 256 requests at a time, its default, and lets them wait",
    "shadow": "the shadow gets half of the requests itself instead of copies of all",
}
KILL_EVERY_S = 10.0
SETTLE_S = 2.0
"""Load before the first strike and after the last one is well."""
FLIP_SETTLE_S = 0.5
"""How long a split is looked at, after the second that it has to become true: 20 times of 10 % are told from none at 14 requests/s."""
FLIPS = 100
PROBED_S = 2.0
"""A second at most until the next probe, and the second that it waits for its answer."""
SEEN_S = 0.2
"""Until the result is written as the Pod's status, and read here."""
Inspect = Callable[[Sequence[Reply], Sequence[Act]], Findings]


@dataclass(frozen=True)
class Drill:
    """What is done every ``every_s``, or later where all is not well again, ``least`` times however many requests.

    ``settle_s``: load between one strike and the next at least. ``control``: switches with which it loses. ``canary``, ``has_shadow``: a second predictor. ``inspect``: what else must hold.
    """

    name: str
    what: str
    strike: Strike
    promise: Promise
    control: frozenset[str] = frozenset({"retries"})
    every_s: float = KILL_EVERY_S
    least: int = 2
    settle_s: float = SETTLE_S
    client_retries: bool = False
    both_versions: bool = False
    try_s: int | None = None
    canary: int | None = None
    has_shadow: bool = False
    inspect: Inspect | None = None


OVERLOAD_PROMISE = Promise(recovery_s=WELL_WITHIN_S, refused_p99_s=REFUSED_WITHIN_S)


@dataclass(frozen=True)
class OverloadDrill:
    """``factor`` times as much as one replica sustains at its best."""

    name: str
    what: str
    factor: float
    promise: Promise = OVERLOAD_PROMISE
    control: frozenset[str] = frozenset({"limits"})
    both_versions: bool = False


DRILLS: tuple[Drill | OverloadDrill, ...] = (
    Drill("pod", "a Pod dies with all its containers", strikes.kill_pod, Promise()),
    Drill("executor", "an executor dies (-9)", strikes.kill_executor, Promise()),
    Drill(
        "one-envoy",
        "one of the two Envoys dies (-9); clients send again what a broken connection took",
        strikes.kill_one_envoy,
        Promise(refused_tries=0),
        client_retries=True,
    ),
    *(
        Drill(f"node-{node}", f"the container {node} dies (-9)", strikes.kill_container(node), Promise())
        for node in subject.NODES
    ),
    Drill(
        "both-envoys",
        "both Envoys die (-9) at once; clients try again",
        strikes.kill_both_envoys,
        Promise(gap_s=1.0),
        least=1,
        client_retries=True,
    ),
    Drill(
        "weights",
        "the canary's percentage changes; now and then a Pod of the other predictor dies, too",
        strikes.flip,
        Promise(),
        every_s=0.0,
        settle_s=FLIP_SETTLE_S,
        least=FLIPS,
        both_versions=True,
        canary=0,
        inspect=inspect_split,
    ),
    Drill(
        "freeze",
        "a model is frozen (SIGSTOP): it takes connections and never answers",
        strikes.freeze_model,
        Promise(recovery_s=PROBED_S + SEEN_S),
        least=1,
        try_s=2,
    ),
    *(
        Drill(
            part,
            f"{label} is stopped; a Pod dies and is replaced meanwhile",
            strikes.without_part(part),
            Promise(),
            least=1,
        )
        for part, label in (("postgres", "PostgreSQL"), ("s3", "S3"), ("mlflow", "MLflow"))
    ),
    Drill(
        "roll",
        "another version of the model is rolled out",
        strikes.roll,
        Promise(),
        control=frozenset({"readiness", "retries"}),
        both_versions=True,
    ),
    Drill(
        "roll-broken",
        "a version that does not start is rolled out, and taken back",
        strikes.roll_broken,
        Promise(),
        least=1,
        control=frozenset({"readiness", "retries"}),
    ),
    Drill(
        "shadow",
        "the shadow hangs (SIGSTOP), then its Pod dies",
        strikes.shadow_dies,
        Promise(),
        least=1,
        control=frozenset({"shadow"}),
        both_versions=True,
        has_shadow=True,
        inspect=inspect_shadow,
    ),
    *(
        OverloadDrill(f"overload-{factor}", f"{factor} times as many requests as one replica sustains", float(factor))
        for factor in (2, 5)
    ),
)


def chosen(names: Iterable[str]) -> tuple[Drill | OverloadDrill, ...]:
    """The named ones in their own order, all where none is named; ValueError for a name that there is not."""
    known, wanted = {drill.name for drill in DRILLS}, set(names)
    if unknown := sorted(wanted - known):
        raise ValueError(f"{', '.join(unknown)}: there are {', '.join(drill.name for drill in DRILLS)}")
    return tuple(drill for drill in DRILLS if not wanted or drill.name in wanted)
