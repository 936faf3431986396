"""Every bound of the executor that the two servers' own limits do not already give."""

from __future__ import annotations

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.serving.limits import IDLE_TIMEOUT_S

REQUEST_DEADLINE_S = 300.0
"""A whole request, all nodes together; longer where a node's own timeout is (`seldon.io/rest-timeout`)."""

CONNECT_TIMEOUT_S = 2.0
"""Until a node accepts a connection; then it is unreachable."""

MAX_ANSWER_BYTES = 4 * MAX_BODY_BYTES
"""A node's answer: arrays as JSON are several times the photo they come from."""

NODE_KEEPALIVE_S = IDLE_TIMEOUT_S - 15.0
"""An idle connection is dropped by us before our own components drop it."""

LARGE_MESSAGE_BYTES = 256 * 1024
"""Messages of more bytes together are parsed and computed with in a thread: in the event loop they would hold up everybody."""

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

LOG_ENTRIES = 10_000
MAX_LOG_ENTRIES = 9_999_999_999
"""Payload events that wait to be sent: Seldon's default, and what its annotation can say."""

LOG_WAIT_MS = 2_000
MAX_LOG_WAIT_MS = 9_999_999_999
"""How long an event may wait for a place among them."""

MAX_LOG_BYTES = 64 * 1024 * 1024
"""Payloads of all events that wait or are being sent; one more is dropped."""

LOG_ENTRY_BYTES = 1024
"""What an event counts for beside its payload."""

LOG_WORKERS = 10
MAX_LOG_WORKERS = 64
"""Events that are sent at once."""

LARGE_LOG_BYTES = 64 * 1024
"""A payload above it is put into its logged form in a thread, and such payloads are sent one at a time."""

LOG_DELIVERY_TIMEOUT_S = 5.0
"""One attempt to send an event."""

LOG_RETRY_PAUSES_S = (0.2, 1.0)
"""Before the second and the third attempt, which is the last."""

LOG_FLUSH_S = 3.0
"""At the end: for the events that still wait. Drain, grace and this fit into a Pod's 20 s."""

LOG_COMPLAINT_S = 30.0
"""At most one line in so long says how many events were lost, and why."""
