"""Port numbers of a predictor's entry and of the orchestrator (contract 1.8, 2.6)."""

from __future__ import annotations

from slipway.contract.defaulting import port_of
from slipway.contract.sdep import PredictorSpec

ORCHESTRATOR_HTTP = 8000
ORCHESTRATOR_GRPC = 5001
NO_ENGINE = "seldon.io/no-engine"


def has_engine(predictor: PredictorSpec) -> bool:
    """Only the value "true" takes the orchestrator away, whatever its case."""
    return predictor.annotations.get(NO_ENGINE, "").lower() != "true"


def entry_ports(predictor: PredictorSpec) -> dict[str, int]:
    """``http`` and ``grpc`` of the Service in front of a predictor: the orchestrator's, or the only node's."""
    if has_engine(predictor):
        return {"http": ORCHESTRATOR_HTTP, "grpc": ORCHESTRATOR_GRPC}
    for component in predictor.component_specs:
        for container in component.containers:
            if container["name"] == predictor.graph.name:
                return {"http": port_of(container, "http"), "grpc": port_of(container, "grpc")}
    return {"http": ORCHESTRATOR_HTTP, "grpc": ORCHESTRATOR_GRPC}
