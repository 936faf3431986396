"""Annotations of the Pod → time-outs and message sizes (contract §1.6, §3.9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.executor.limits import REQUEST_DEADLINE_S
from slipway.serving.podinfo import GRPC_MAX_MESSAGE_SIZE, GRPC_TIMEOUT, REST_TIMEOUT, whole_number


@dataclass(frozen=True)
class CallLimits:
    """Seconds that one call of a node may take (None: only the request's deadline), and a gRPC message's size."""

    rest_timeout_s: float | None = None
    grpc_timeout_s: float | None = None
    grpc_max_message_bytes: int = MAX_BODY_BYTES

    def deadline_s(self, *, nodes: int) -> float:
        """For a whole request: REQUEST_DEADLINE_S, or what the nodes' own time-outs add up to if that is more."""
        longest = max(self.rest_timeout_s or 0.0, self.grpc_timeout_s or 0.0)
        return max(REQUEST_DEADLINE_S, longest * nodes)


def call_limits(annotations: Mapping[str, str]) -> CallLimits:
    """Limits that the annotations ask for.

    Raises:
        AnnotationError: one of them is not a positive whole number.
    """
    rest_ms = whole_number(annotations, REST_TIMEOUT)
    grpc_ms = whole_number(annotations, GRPC_TIMEOUT)
    return CallLimits(
        rest_timeout_s=rest_ms / 1000 if rest_ms else None,
        grpc_timeout_s=grpc_ms / 1000 if grpc_ms else None,
        grpc_max_message_bytes=whole_number(annotations, GRPC_MAX_MESSAGE_SIZE) or MAX_BODY_BYTES,
    )
