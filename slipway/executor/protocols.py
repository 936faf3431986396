"""The protocols that a graph may speak: how each asks its nodes, and its surfaces."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.executor.dialect import SELDON, Dialect
from slipway.executor.grpc_server import GrpcSurface
from slipway.executor.rest_server import RestSurface
from slipway.executor.tensorflow import TENSORFLOW
from slipway.executor.tensorflow_grpc import TensorflowGrpcSurface
from slipway.executor.tensorflow_rest import TensorflowRestSurface
from slipway.executor.v2 import V2
from slipway.executor.v2_grpc import V2GrpcSurface
from slipway.executor.v2_rest import V2RestSurface


@dataclass(frozen=True)
class GraphProtocol:
    dialect: Dialect
    rest: type[RestSurface]
    grpc: type[GrpcSurface]


PROTOCOLS = {
    "seldon": GraphProtocol(SELDON, RestSurface, GrpcSurface),
    "v2": GraphProtocol(V2, V2RestSurface, V2GrpcSurface),
    "kfserving": GraphProtocol(V2, V2RestSurface, V2GrpcSurface),
    "tensorflow": GraphProtocol(TENSORFLOW, TensorflowRestSurface, TensorflowGrpcSurface),
}
"""By the contract's spelling in ``spec.protocol``."""
