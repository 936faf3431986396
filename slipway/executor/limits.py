"""Every bound of the executor that the two servers' own limits do not already give."""

from __future__ import annotations

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.serving.limits import IDLE_TIMEOUT_S, MAX_IN_FLIGHT

REQUEST_DEADLINE_S = 300.0
"""A whole request, all nodes together; longer where a node's own timeout is (`seldon.io/rest-timeout`)."""

CONNECT_TIMEOUT_S = 2.0
"""Until a node accepts a connection; then it is unreachable."""

MAX_PUID_CHARS = 256
"""A client's own request identifier: it is repeated in every answer and every call of a node."""

MAX_ANSWER_BYTES = 4 * MAX_BODY_BYTES
"""A node's answer: arrays as JSON are several times the photo they come from."""

NODE_CONNECTIONS = MAX_IN_FLIGHT
"""Kept connections to one node."""

NODE_KEEPALIVE_S = IDLE_TIMEOUT_S - 15.0
"""An idle connection is dropped by us before our own components drop it."""

PROBE_TIMEOUT_S = 1.0
"""One node's part in a readiness check."""

FIRST_READY_POLL_S = 0.1
"""How often nodes are asked until all of them are ready for the first time."""

PREDICTOR_POLL_S = 1.0
"""How often the predictor file is looked at."""

MAX_PREDICTOR_BYTES = 4 * 1024 * 1024
"""A predictor file or variable; Kubernetes stores at most 1.5 MiB in one object."""

RECONNECT_MIN_S = 0.1
RECONNECT_MAX_S = 1.0
"""Pauses of a gRPC channel between attempts to connect."""
