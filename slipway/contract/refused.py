"""Fields of the contract that this version does not carry out yet: refused in words, never ignored."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.contract.annotations import is_true
from slipway.contract.causes import Cause, with_paths
from slipway.contract.explainers import explainer_refusals
from slipway.contract.loggers import KAFKA_BROKER, NO_KAFKA
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.contract.validation import NO_ENGINE

NOT_IN_TENSORFLOW = frozenset({"SIMPLE_MODEL", "AVERAGE_COMBINER"})
"""Built-in implementations without a form in protocol tensorflow."""


def refusals(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Every use of something that is not offered."""
    if sdep.server_type == "kafka":
        text = "'kafka' is not offered: graphs are called over REST and gRPC, none reads a topic; leave serverType out"
        yield Cause("spec.serverType", text)
    for index, predictor in enumerate(sdep.predictors):
        yield from _predictor(predictor, sdep.protocol, f"spec.predictors[{index}]")
        if sdep.protocol == "tensorflow":
            yield from _tensorflow(predictor, f"spec.predictors[{index}]")


def _tensorflow(predictor: PredictorSpec, path: str) -> Iterator[Cause]:
    for node, where in with_paths(predictor.graph, f"{path}.graph"):
        if node.implementation in NOT_IN_TENSORFLOW:
            text = f"node {node.name!r}: {node.implementation} is not offered in protocol tensorflow"
            yield Cause(where, text)


def _predictor(predictor: PredictorSpec, protocol: str, path: str) -> Iterator[Cause]:
    if predictor.explainer is not None:
        yield from explainer_refusals(predictor.explainer, protocol, f"{path}.explainer")
    if predictor.ssl.get("certSecretName"):
        yield Cause(f"{path}.ssl", "TLS between Pods is not offered here: let the mesh do it (DestinationRule tls)")
    if is_true(predictor.annotations.get(NO_ENGINE)) and predictor.graph.logger is not None:
        text = f"a logger is not offered with {NO_ENGINE}: the orchestrator sends the events, and here is none"
        yield Cause(f"{path}.graph", f"node {predictor.graph.name!r}: {text}")
    if any(item.get("name") == KAFKA_BROKER for item in predictor.svc_orch_spec.get("env") or ()):
        yield Cause(f"{path}.svcOrchSpec.env[{KAFKA_BROKER}]", NO_KAFKA)
