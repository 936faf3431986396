"""The protocols that a graph may speak: how each asks its nodes, and its surfaces."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.executor.dialect import SELDON, Dialect
from slipway.executor.grpc_server import GrpcSurface
from slipway.executor.rest_server import RestSurface


@dataclass(frozen=True)
class GraphProtocol:
    dialect: Dialect
    rest: type[RestSurface]
    grpc: type[GrpcSurface]


PROTOCOLS = {
    "seldon": GraphProtocol(SELDON, RestSurface, GrpcSurface),
}
"""By the contract's spelling in ``spec.protocol``."""
