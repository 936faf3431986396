"""The one table of annotations: our own ``slipway.dev/*``, and Seldon's that have an effect (contract 1.6).

An unknown ``slipway.dev/*`` annotation is an error. One of either table in a place where nothing reads it, or with a
value that could not be honoured, is an error too. Another of Seldon's is taken, and whoever writes it is told that nothing
reads it. All others are left alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from slipway.contract.callers import CALLER, GROUP
from slipway.contract.causes import Cause
from slipway.contract.following import DURATION
from slipway.contract.sdep import PredictorSpec, SeldonDeployment

PREFIX = "slipway.dev/"
SELDONS = "seldon.io/"
ENGINE_VARIABLE = f"{SELDONS}engine-"
"""In ``spec``: an environment variable of the orchestrator."""
FOLLOW_ALIAS = f"{PREFIX}follow-alias"
KEEP_PREVIOUS = f"{PREFIX}keep-previous"
MATCH = f"{PREFIX}match"
MAX_REQUESTS = f"{PREFIX}max-requests"
MODEL_SHA256 = f"{PREFIX}model-sha256"
OUTLIER_ERRORS = f"{PREFIX}outlier-errors"
RATE_LIMIT = f"{PREFIX}rate-limit"
ROLLBACK = f"{PREFIX}rollback"
ROLLOUT = f"{PREFIX}rollout"
STICKY = f"{PREFIX}sticky"
TIMEOUT = f"{PREFIX}timeout"

BUCKETS = f"{PREFIX}buckets"
"""Of a generated VirtualService, not of a SeldonDeployment: which callers are whose. The next assignment starts from it."""

Place = Literal["metadata", "spec", "predictor", "componentSpec"]
NUMBER = r"[1-9][0-9]{0,9}"
COUNT = r"[0-9]{1,9}"
COUNT_ABOVE_0 = r"[1-9][0-9]{0,8}"
TRUTH = r"(?i:true|false)"
RATE = r"[1-9][0-9]{0,5}/[smh]"
PATIENCE = r"[1-9][0-9]{0,4}(ms|s)"
DIGEST = r"([a-z0-9][-a-z0-9]*=)?(sha256:)?[0-9a-f]{64}"


@dataclass(frozen=True)
class Annotation:
    """``places``: where it is read. ``values``: a regular expression of what it may be."""

    name: str
    places: tuple[Place, ...]
    values: str
    on_onebox: str
    on_istio: str


OURS: tuple[Annotation, ...] = (
    Annotation(
        FOLLOW_ALIAS,
        ("spec", "predictor"),
        TRUTH,
        "true: a moved alias is noticed within seconds and rolled out; else only an edit of the predictor looks again",
        "the same",
    ),
    Annotation(
        KEEP_PREVIOUS,
        ("spec", "predictor"),
        DURATION,
        "how long the version before the present one stays warm where an alias is followed; 1h without it, 0s for not at all",
        "the same",
    ),
    Annotation(
        MATCH,
        ("predictor",),
        GROUP,
        "header:x-group=b or cookie:group=b: requests with it go to this predictor only, whatever the percentages and "
        "whether it is ready; all others are split as ever",
        "the same (a route of the VirtualService)",
    ),
    Annotation(
        MAX_REQUESTS,
        ("spec", "predictor"),
        COUNT_ABOVE_0,
        "requests of one predictor that the gateway lets pass at a time, slow uploads among them; one more is answered 503 "
        "OVERLOADED before its body is read. Each of the two Envoys counts half, rounded up; 2048 without it",
        "http2MaxRequests of the DestinationRule: each gateway Pod counts for itself, and the 503 has no reason",
    ),
    Annotation(
        MODEL_SHA256,
        ("predictor",),
        rf"{DIGEST}(,\s*{DIGEST})*",
        "the storage initializer refuses a model folder with another digest; without one it refuses SKLEARN_SERVER and "
        "MLFLOW_SERVER a model that is not from the registry",
        "the same",
    ),
    Annotation(
        OUTLIER_ERRORS,
        ("spec", "predictor"),
        COUNT_ABOVE_0,
        "a Pod that answers so many times in a row 502, 503, 504 or not at all gets nothing for 30 s, then 60 s, and so "
        "on; at most half of the Pods",
        "the same (outlierDetection of the DestinationRule)",
    ),
    Annotation(
        RATE_LIMIT,
        ("metadata", "spec"),
        RATE,
        "100/s, 600/m, 5000/h: what is above it is answered 429 RATE_LIMITED before its body is read; each of the two "
        "Envoys gives out half",
        "refused: it takes an EnvoyFilter (istio/components/rate-limit)",
    ),
    Annotation(
        ROLLBACK,
        ("metadata",),
        r"(?s)\{.*\}",
        "written by slipway rollback: the warm version of a predictor serves again at once",
        "the same",
    ),
    Annotation(
        ROLLOUT,
        ("predictor",),
        r"surge|recreate",
        "recreate: the old Pods end before the new ones start, for a machine without room for both; surge: the default",
        "the same (the Deployment's strategy)",
    ),
    Annotation(
        STICKY,
        ("metadata", "spec"),
        CALLER,
        "header:x-user or cookie:uid: who has the same value gets the same predictor; a change of the percentages moves "
        "as few as possible, and nobody away from a predictor that gets more. Without it a request is split by chance",
        "refused: weights of Istio have no memory",
    ),
    Annotation(
        TIMEOUT,
        ("metadata", "spec"),
        PATIENCE,
        "10s, 500ms: a request has so long with all its retries, then it is 504 UPSTREAM_TIMEOUT; 180 s without it",
        "the same (timeout of the VirtualService), for ever without it",
    ),
)

POD: tuple[Place, ...] = ("spec", "predictor", "componentSpec")
RESOURCE: tuple[Place, ...] = ("metadata", "spec")
SPEC: tuple[Place, ...] = ("spec",)
PREDICTOR: tuple[Place, ...] = ("predictor",)

SELDON: tuple[Annotation, ...] = tuple(
    Annotation(f"{SELDONS}{name}", places, values, effect, effect)
    for name, places, values, effect in (
        ("rest-timeout", POD, NUMBER, "milliseconds of one REST call of a node"),
        ("grpc-timeout", POD, NUMBER, "milliseconds of one gRPC call of a node"),
        (
            "grpc-max-message-size",
            POD,
            NUMBER,
            "bytes of one gRPC message to the executor and to our components",
        ),
        ("no-engine", PREDICTOR, TRUTH, "true: no orchestrator, the only node is the Service"),
        ("engine-separate-pod", SPEC, TRUTH, "true: the orchestrator in a Deployment of its own"),
        ("headless-svc", RESOURCE, r".*", "other than false: the predictor Service has no address"),
        ("svc-name", PREDICTOR, r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "name of the predictor Service"),
        ("istio-gateway", RESOURCE, r".+", "gateway of the VirtualService"),
        ("istio-host", RESOURCE, r"[^,\s]+", "host of the VirtualService"),
        ("istio-retries", RESOURCE, COUNT, "attempts of the VirtualService's routes"),
        ("istio-retries-timeout", RESOURCE, NUMBER, "seconds of each attempt"),
        ("executor-logger-queue-size", RESOURCE, NUMBER, "entries of the payload log's queue"),
        ("executor-logger-write-timeout-ms", RESOURCE, NUMBER, "milliseconds to wait for a place in it"),
        ("no-storage-initializer", SPEC, TRUTH, "true: TRITON_SERVER loads its modelUri itself"),
    )
)
TABLE = OURS + SELDON
NOT_OF_PODS = frozenset({FOLLOW_ALIAS, KEEP_PREVIOUS, MATCH, MAX_REQUESTS, OUTLIER_ERRORS, RATE_LIMIT, STICKY, TIMEOUT})
BY_NAME: Mapping[str, Annotation] = {annotation.name: annotation for annotation in TABLE}


def check_annotations(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Unknown, misplaced or unreadable annotations, in the order of the manifest."""
    for place, path, given in _given(sdep):
        for name, value in given.items():
            if message := _problem(name, value, place):
                yield Cause(f"{path}[{name}]", message)


def unread(sdep: SeldonDeployment) -> Iterator[tuple[str, str]]:
    """Seldon's annotations that are in neither table: where each is, and what may have been meant."""
    for place, path, given in _given(sdep):
        for name in given:
            is_engines = place == "spec" and name.startswith(ENGINE_VARIABLE)
            if name.startswith(SELDONS) and name not in BY_NAME and not is_engines:
                alike = difflib.get_close_matches(name, BY_NAME, n=1)
                yield f"{path}[{name}]", f"nothing reads it; {alike[0]} is read" if alike else "nothing reads it"


def is_true(value: str | None) -> bool:
    return (value or "").lower() == "true"


def of_predictor(name: str, predictor: PredictorSpec, sdep: SeldonDeployment) -> str | None:
    """An annotation that stands in ``spec`` for all predictors, or at one for itself."""
    return predictor.annotations.get(name, sdep.annotations.get(name))


def without_followers(annotations: Mapping[str, str]) -> dict[str, str]:
    """Those that Pods get: a Pod is not made anew because its controller is to look, or the gateway to count, otherwise."""
    return {name: value for name, value in annotations.items() if name not in NOT_OF_PODS}


def _given(sdep: SeldonDeployment) -> Iterator[tuple[Place, str, Mapping[str, str]]]:
    yield "metadata", "metadata.annotations", sdep.metadata_annotations
    yield "spec", "spec.annotations", sdep.annotations
    for index, predictor in enumerate(sdep.predictors):
        path = f"spec.predictors[{index}]"
        yield "predictor", f"{path}.annotations", predictor.annotations
        for number, component in enumerate(predictor.component_specs):
            given = component.metadata.get("annotations") or {}
            yield "componentSpec", f"{path}.componentSpecs[{number}].metadata.annotations", given


def _problem(name: str, value: str, place: Place) -> str | None:
    known = BY_NAME.get(name)
    if known is None:
        ours = ", ".join(annotation.name for annotation in OURS)
        return f"is not one of {ours}" if name.startswith(PREFIX) else None
    if place not in known.places:
        return f"nothing reads it here: it belongs to {' or '.join(known.places)} annotations"
    if not re.fullmatch(known.values, value):
        return f"{value!r} does not match {known.values} ({known.on_onebox})"
    return None
