"""Fields of the contract that this version does not carry out yet: refused in words, never ignored."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.contract.causes import Cause, with_paths
from slipway.contract.sdep import PredictorSpec, SeldonDeployment


def refusals(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Every use of something that is not offered."""
    if sdep.protocol not in ("", "seldon"):
        yield Cause("spec.protocol", f"{sdep.protocol!r} is not offered: the executor speaks seldon")
    if sdep.server_type not in ("", "rpc"):
        yield Cause("spec.serverType", f"{sdep.server_type!r} is not offered: the executor serves rpc")
    for index, predictor in enumerate(sdep.predictors):
        yield from _predictor(predictor, f"spec.predictors[{index}]")


def _predictor(predictor: PredictorSpec, path: str) -> Iterator[Cause]:
    if predictor.explainer.get("type"):
        yield Cause(f"{path}.explainer", "explainers are not offered")
    if predictor.ssl.get("certSecretName"):
        yield Cause(f"{path}.ssl", "TLS between Pods is not offered here: let the mesh do it (DestinationRule tls)")
    for node, where in with_paths(predictor.graph, f"{path}.graph"):
        if node.logger is not None:
            yield Cause(where, f"node {node.name!r}: payload logging is not offered")
