"""Predictors and their percentages → VirtualService and DestinationRules (contract 2.6)."""

from __future__ import annotations

from typing import Any

from slipway.contract.names import predictor_service_name, service_host
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.controller.errors import Refused
from slipway.controller.facts import Object, Settings
from slipway.controller.objects import new_object
from slipway.controller.ports import entry_ports

ISTIO = "networking.istio.io/v1"
GRPC_METHODS = ".*tensorflow.*|.*seldon.protos.*|.*inference.*"
IDLE_TIMEOUT = "60s"
RETRY_ON = "gateway-error,connect-failure,refused-stream"
GATEWAY = "seldon.io/istio-gateway"
HOST = "seldon.io/istio-host"
RETRIES = "seldon.io/istio-retries"
RETRIES_TIMEOUT = "seldon.io/istio-retries-timeout"


def traffic_objects(sdep: SeldonDeployment, settings: Settings) -> list[Object]:
    """The VirtualService, after the DestinationRules whose subsets it names.

    Raises:
        Refused: an Istio annotation is not a whole number.
    """
    return [*(_destination_rule(predictor, sdep) for predictor in sdep.predictors), _virtual_service(sdep, settings)]


def _virtual_service(sdep: SeldonDeployment, settings: Settings) -> Object:
    metadata_match = {"seldon": {"exact": sdep.name}, "namespace": {"exact": sdep.namespace}}
    prefix = f"/seldon/{sdep.namespace}/{sdep.name}/"
    rest = {
        "match": [{"uri": {"prefix": prefix}}],
        "rewrite": {"uri": "/"},
        **_destinations(sdep, "http"),
        **_retries(sdep),
    }
    grpc = {
        "match": [{"uri": {"regex": GRPC_METHODS}, "headers": metadata_match}],
        **_destinations(sdep, "grpc"),
        **_retries(sdep),
    }
    spec = {
        "hosts": [sdep.annotation(HOST) or "*"],
        "gateways": [sdep.annotation(GATEWAY) or settings.istio_gateway],
        "http": [rest, grpc],
    }
    return new_object(sdep, ISTIO, "VirtualService", sdep.name, spec=spec)


def _destinations(sdep: SeldonDeployment, port: str) -> dict[str, Any]:
    """Routes of the live predictors in the manifest's order, and the shadow as a mirror."""
    found: dict[str, Any] = {
        "route": [
            {"destination": _destination(predictor, sdep, port), "weight": predictor.traffic}
            for predictor in sdep.predictors
            if not predictor.shadow
        ]
    }
    for shadow in (predictor for predictor in sdep.predictors if predictor.shadow):
        found["mirror"] = _destination(shadow, sdep, port)
        if shadow.traffic > 0:
            found["mirrorPercentage"] = {"value": shadow.traffic}
    return found


def _destination(predictor: PredictorSpec, sdep: SeldonDeployment, port: str) -> dict[str, Any]:
    return {
        "host": service_host(predictor_service_name(sdep.name, predictor), sdep.namespace),
        "subset": predictor.name,
        "port": {"number": entry_ports(predictor)[port]},
    }


def _retries(sdep: SeldonDeployment) -> dict[str, Any]:
    attempts = _whole(sdep, RETRIES, default=0)
    timeout_s = _whole(sdep, RETRIES_TIMEOUT, default=1)
    if attempts <= 0:
        return {}
    return {"retries": {"attempts": attempts, "perTryTimeout": f"{timeout_s}s", "retryOn": RETRY_ON}}


def _whole(sdep: SeldonDeployment, name: str, *, default: int) -> int:
    text = sdep.annotation(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError as error:
        raise Refused(f"annotation {name}: {text!r} is not a whole number") from error


def _destination_rule(predictor: PredictorSpec, sdep: SeldonDeployment) -> Object:
    service = predictor_service_name(sdep.name, predictor)
    spec = {
        "host": service_host(service, sdep.namespace),
        "subsets": [{"name": predictor.name, "labels": {"version": predictor.labels["version"]}}],
        "trafficPolicy": {"connectionPool": {"http": {"idleTimeout": IDLE_TIMEOUT}}},
    }
    return new_object(sdep, ISTIO, "DestinationRule", service, spec=spec)
