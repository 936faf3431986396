"""Predictors and their percentages → VirtualService and DestinationRules (contract section 2.6)."""

from __future__ import annotations

from typing import Any

from slipway.contract.annotations import MAX_REQUESTS, of_predictor
from slipway.contract.names import predictor_service_name, service_host
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.controller.facts import Facts
from slipway.controller.meta import Object, metadata
from slipway.controller.services import entry_ports

API_VERSION = "networking.istio.io/v1"
GRPC_METHODS = ".*tensorflow.*|.*seldon.protos.*|.*inference.*"
IDLE_TIMEOUT = "60s"
RETRY_ON = "gateway-error,connect-failure,refused-stream"
GATEWAY = "seldon.io/istio-gateway"
HOST = "seldon.io/istio-host"
RETRIES = "seldon.io/istio-retries"
RETRIES_TIMEOUT = "seldon.io/istio-retries-timeout"


def traffic(sdep: SeldonDeployment, facts: Facts) -> list[Object]:
    """The DestinationRules, then the VirtualService that names their subsets. Weights are the declared ones."""
    return [*(_destination_rule(predictor, sdep) for predictor in sdep.predictors), _virtual_service(sdep, facts)]


def _virtual_service(sdep: SeldonDeployment, facts: Facts) -> Object:
    callers = {"seldon": {"exact": sdep.name}, "namespace": {"exact": sdep.namespace}}
    rest = {
        "match": [{"uri": {"prefix": f"/seldon/{sdep.namespace}/{sdep.name}/"}}],
        "rewrite": {"uri": "/"},
        **_destinations(sdep, is_grpc=False),
    }
    grpc = {"match": [{"uri": {"regex": GRPC_METHODS}, "headers": callers}], **_destinations(sdep, is_grpc=True)}
    spec = {
        "hosts": [sdep.annotation(HOST) or "*"],
        "gateways": [sdep.annotation(GATEWAY) or facts.settings.istio_gateway],
        "http": [{**route, **_retries(sdep)} for route in (rest, grpc)],
    }
    return {"apiVersion": API_VERSION, "kind": "VirtualService", "metadata": metadata(sdep.name, sdep), "spec": spec}


def _destinations(sdep: SeldonDeployment, *, is_grpc: bool) -> dict[str, Any]:
    """Live predictors in the manifest's order, and the shadow as a mirror."""
    found: dict[str, Any] = {
        "route": [
            {"destination": _destination(predictor, sdep, is_grpc=is_grpc), "weight": predictor.traffic}
            for predictor in sdep.predictors
            if not predictor.shadow
        ]
    }
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


def _destination_rule(predictor: PredictorSpec, sdep: SeldonDeployment) -> Object:
    service = predictor_service_name(sdep.name, predictor)
    spec = {
        "host": service_host(service, sdep.namespace),
        "subsets": [{"name": predictor.name, "labels": {"version": predictor.labels["version"]}}],
        "trafficPolicy": {"connectionPool": {"http": {"idleTimeout": IDLE_TIMEOUT, **_max_requests(predictor, sdep)}}},
    }
    meta = metadata(service, sdep)
    return {"apiVersion": API_VERSION, "kind": "DestinationRule", "metadata": meta, "spec": spec}
