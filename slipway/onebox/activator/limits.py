"""Every bound of the activator: what waits at most, and how long."""

from __future__ import annotations

from slipway.contract.limits import MAX_BODY_BYTES

MAX_HELD = 512
"""Requests that wait, of all predictors together. Each takes a connection or a stream, and some kilobytes here."""
MAX_HELD_EACH = 128
"""Of one Deployment, so that one that does not come up leaves room for the others."""
MAX_HELD_BYTES = 256 * 1024 * 1024
"""Bodies of all that wait. They stand in the gateway's memory, twice (see ``mesh.limits``): with this well below its heap."""
MAX_COPIED_BYTES = MAX_HELD_BYTES
"""Bodies of mirrored requests: they are received whole, and stand in this process until they are answered."""
UNKNOWN_BYTES = 64 * 1024
"""What a body counts whose length is not declared, as over gRPC: no more is read of it until its predictor is ready."""
READ_BYTES = 256 * 1024
"""Read ahead of one REST body while it passes through."""

HEADER_BYTES = 64 * 1024
"""Of a line or a field; the gateway takes ``mesh.limits.MAX_HEADERS_KIB`` for all."""

HOLD_S = 50.0
"""Below the gateway's time for one try (``mesh.limits.PER_TRY_TIMEOUT_S``), so that the reason is ours to tell."""
MARGIN_S = 0.5
"""So much before the gateway's or a client's own deadline a request that still waits is refused."""
RETRY_AFTER_S = 5
CONNECT_TRIES = 5
CONNECT_PAUSE_S = 0.05
"""An endpoint may be gone just after it was ready: nothing has been sent yet, so another one is asked."""
CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 600.0
"""Until a Pod answers, and then until its whole answer is here; the gateway's own time-out is shorter."""
MAX_MESSAGE_BYTES = 2 * MAX_BODY_BYTES
"""Of a gRPC message; what a predictor takes is checked by its executor."""
MAX_CALLS = 2 * MAX_HELD
"""gRPC calls at once, held and passing; REST is bounded by the gateway's connections."""
MAX_CHANNELS = 64
"""gRPC channels to Pods that are kept open; the one not used for longest is closed for a new one."""
DRAIN_S = 10.0
"""How long what passes through may take when the activator is asked to stop."""

LOOK_S = 1.0
"""How often the gateway is asked for traffic, at most: with a short cooldown."""
LOOK_MAX_S = 10.0
LOOKS_PER_COOLDOWN = 10
RETRY_S = 0.5
"""After a round in which the API refused something."""
