"""Predictors and their percentages → VirtualService and DestinationRules (contract section 2.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.annotations import (
    BUCKETS,
    MATCH,
    MAX_REQUESTS,
    OUTLIER_ERRORS,
    RATE_LIMIT,
    STICKY,
    TIMEOUT,
    of_predictor,
)
from slipway.contract.buckets import assign, parse_runs, render_runs
from slipway.contract.callers import parse_group
from slipway.contract.causes import Cause
from slipway.contract.names import predictor_service_name, service_host
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.controller.facts import Facts
from slipway.controller.feedback import about, client_grpc_route, client_rest_route, is_feedback, rewarded
from slipway.controller.meta import ISTIO_NETWORKING, Object, metadata
from slipway.controller.services import entry_ports
from slipway.controller.settings import Settings
from slipway.controller.weights import weights

GRPC_METHODS = ".*tensorflow.*|.*seldon.protos.*|.*inference.*"
IDLE_TIMEOUT = "60s"
RETRY_ON = "gateway-error,connect-failure,refused-stream"
GATEWAY = "seldon.io/istio-gateway"
HOST = "seldon.io/istio-host"
RETRIES = "seldon.io/istio-retries"
RETRIES_TIMEOUT = "seldon.io/istio-retries-timeout"
OUTLIER = {"consecutive5xxErrors": 0, "interval": "5s", "baseEjectionTime": "30s", "maxEjectionPercent": 50}
"""A class's own 500 is no reason to leave its Pod."""
OWN_GATEWAY = {
    STICKY: "weights of Istio have no memory",
    RATE_LIMIT: "Istio's rate limit takes an EnvoyFilter",
}
Route = dict[str, Any]


def traffic(sdep: SeldonDeployment, facts: Facts) -> list[Object]:
    """The DestinationRules, then the VirtualService that names their subsets.

    Weights are the declared ones; where ``facts`` says which predictors are ready, an unready one's is 0.
    """
    return [*(_destination_rule(predictor, sdep) for predictor in sdep.predictors), _virtual_service(sdep, facts)]


def _virtual_service(sdep: SeldonDeployment, facts: Facts) -> Object:
    routes = (*_rewarded(sdep), *_grouped(sdep), *_split(sdep, facts))
    spec = {
        "hosts": [sdep.annotation(HOST) or "*"],
        "gateways": [sdep.annotation(GATEWAY) or facts.settings.istio_gateway],
        "http": [{**_retries(sdep), **_timeout(sdep), **route} for route in routes],
    }
    meta = metadata(sdep.name, sdep, annotations=_annotations(sdep, facts))
    return {"apiVersion": ISTIO_NETWORKING, "kind": "VirtualService", "metadata": meta, "spec": spec}


def _annotations(sdep: SeldonDeployment, facts: Facts) -> dict[str, str]:
    """What the mesh of one machine does beyond Istio."""
    limit, sticky = sdep.annotation(RATE_LIMIT), sdep.annotation(STICKY)
    found = {RATE_LIMIT: limit} if limit else {}
    live = {predictor.name: predictor.traffic for predictor in sdep.predictors if not predictor.shadow}
    if sticky and any(live.values()):
        found |= {STICKY: sticky, BUCKETS: render_runs(assign(parse_runs(facts.buckets), live))}
    return found


def known_buckets(owned: Mapping[tuple[str, str], Object], sdep: SeldonDeployment) -> str:
    """The assignment that the VirtualService has now; empty where there is none."""
    found = owned.get(("VirtualService", sdep.name), {})
    return str((found.get("metadata", {}).get("annotations") or {}).get(BUCKETS) or "")


def refused_traffic(sdep: SeldonDeployment, settings: Settings) -> Iterator[Cause]:
    """What only the mesh of one machine carries out, where the gateway is Istio's."""
    for name, reason in OWN_GATEWAY.items() if not settings.has_own_mesh else ():
        for place, given in (("spec", sdep.annotations), ("metadata", sdep.metadata_annotations)):
            if name in given:
                yield Cause(f"{place}.annotations[{name}]", f"{reason}: it works on one machine only")


def written_weights(sdep: SeldonDeployment, facts: Facts) -> dict[str, int]:
    """Of each live predictor; ``sdep`` is defaulted."""
    declared = {predictor.name: predictor.traffic for predictor in sdep.predictors if not predictor.shadow}
    return declared if facts.ready is None or len(declared) == 1 else weights(declared, facts.ready)


def _split(sdep: SeldonDeployment, facts: Facts) -> Iterator[Route]:
    """By the percentages."""
    shares = written_weights(sdep, facts)
    for route, is_grpc in _ways(sdep):
        yield {**route, **_destinations(sdep, shares, is_grpc=is_grpc)}


def _rewarded(sdep: SeldonDeployment) -> Iterator[Route]:
    """For each predictor that answers the ways of feedback about its replies, before all others: two routes each.

    Without the subset, because the requests of subsets are what the split has dealt out (`slipway split`).
    """
    for predictor in rewarded(sdep):
        for route, is_grpc in _ways(sdep):
            if is_feedback(route):
                destination = _destination(predictor, sdep, is_grpc=is_grpc)
                del destination["subset"]
                yield _alone(route, about(predictor), destination)


def _grouped(sdep: SeldonDeployment) -> Iterator[Route]:
    """For each predictor with a group of callers the same routes, for them alone."""
    for predictor in sdep.predictors:
        group = parse_group(predictor.annotations.get(MATCH, ""))
        if group is None or predictor.shadow:
            continue
        for route, is_grpc in _ways(sdep):
            alone = _alone(route, group.condition, _destination(predictor, sdep, is_grpc=is_grpc))
            yield {**alone, **_copies(sdep, is_grpc=is_grpc)}


def _alone(route: Route, condition: Object, destination: Object) -> Route:
    """``route`` for requests that have these headers too, to one destination."""
    (match,) = route["match"]
    headers = {**match.get("headers", {}), **condition}
    return {**route, "match": [{**match, "headers": headers}], "route": [{"destination": destination}]}


def _ways(sdep: SeldonDeployment) -> Iterator[tuple[Route, bool]]:
    """What requests look like, and whether it is gRPC: REST, then gRPC, feedback before what may be tried again."""
    prefix = f"/seldon/{sdep.namespace}/{sdep.name}/"
    callers = {"seldon": {"exact": sdep.name}, "namespace": {"exact": sdep.namespace}}
    yield client_rest_route(prefix), False
    yield {"match": [{"uri": {"prefix": prefix}}], "rewrite": {"uri": "/"}}, False
    yield client_grpc_route(callers), True
    yield {"match": [{"uri": {"regex": GRPC_METHODS}, "headers": callers}]}, True


def _timeout(sdep: SeldonDeployment) -> dict[str, str]:
    given = sdep.annotation(TIMEOUT)
    return {"timeout": given} if given else {}


def _destinations(sdep: SeldonDeployment, shares: Mapping[str, int], *, is_grpc: bool) -> dict[str, Any]:
    """Live predictors in the manifest's order, and the shadow as a mirror."""
    route = [
        {"destination": _destination(predictor, sdep, is_grpc=is_grpc), "weight": shares[predictor.name]}
        for predictor in sdep.predictors
        if not predictor.shadow
    ]
    return {"route": route, **_copies(sdep, is_grpc=is_grpc)}


def _copies(sdep: SeldonDeployment, *, is_grpc: bool) -> dict[str, Any]:
    """The shadow as a mirror."""
    found: dict[str, Any] = {}
    for shadow in (predictor for predictor in sdep.predictors if predictor.shadow):
        found["mirror"] = _destination(shadow, sdep, is_grpc=is_grpc)
        if shadow.traffic > 0:
            found["mirrorPercentage"] = {"value": shadow.traffic}
    return found


def _destination(predictor: PredictorSpec, sdep: SeldonDeployment, *, is_grpc: bool) -> dict[str, Any]:
    http, grpc = entry_ports(predictor)
    return {
        "host": service_host(predictor_service_name(sdep.name, predictor), sdep.namespace),
        "subset": predictor.name,
        "port": {"number": grpc if is_grpc else http},
    }


def _retries(sdep: SeldonDeployment) -> dict[str, Any]:
    """Seldon's annotations; without them retries are the mesh's default. Admission has checked that they are numbers."""
    attempts = int(sdep.annotation(RETRIES) or 0)
    if attempts <= 0:
        return {}
    timeout = f"{int(sdep.annotation(RETRIES_TIMEOUT) or 1)}s"
    return {"retries": {"attempts": attempts, "perTryTimeout": timeout, "retryOn": RETRY_ON}}


def _max_requests(predictor: PredictorSpec, sdep: SeldonDeployment) -> dict[str, Any]:
    """Istio counts requests of HTTP/1.1 under this name, too; admission has checked that it is a number."""
    given = of_predictor(MAX_REQUESTS, predictor, sdep)
    return {"http2MaxRequests": int(given)} if given else {}


def _outlier(predictor: PredictorSpec, sdep: SeldonDeployment) -> dict[str, Any]:
    given = of_predictor(OUTLIER_ERRORS, predictor, sdep)
    return {"outlierDetection": {"consecutiveGatewayErrors": int(given), **OUTLIER}} if given else {}


def _destination_rule(predictor: PredictorSpec, sdep: SeldonDeployment) -> Object:
    service = predictor_service_name(sdep.name, predictor)
    spec = {
        "host": service_host(service, sdep.namespace),
        "subsets": [{"name": predictor.name, "labels": {"version": predictor.labels["version"]}}],
        "trafficPolicy": {
            "connectionPool": {"http": {"idleTimeout": IDLE_TIMEOUT, **_max_requests(predictor, sdep)}},
            **_outlier(predictor, sdep),
        },
    }
    meta = metadata(service, sdep)
    return {"apiVersion": ISTIO_NETWORKING, "kind": "DestinationRule", "metadata": meta, "spec": spec}
