"""Every bound of the two servers, in one place; bodies and messages follow the one body limit of the contract."""

from __future__ import annotations

from slipway.contract.limits import MAX_BODY_BYTES

MAX_IN_FLIGHT = 256
"""Requests queued or computing in one process, their bodies read; one more is answered 429 or RESOURCE_EXHAUSTED."""

MAX_IN_FLIGHT_BYTES = 16 * MAX_BODY_BYTES
"""Bytes of the bodies of those requests together."""

ANSWER_ROOM = 2
"""So many times those bytes may the answers of an executor's nodes be; above once them no further request is taken on."""

MAX_CONNECTIONS = 2048
"""REST connections of one port; for a further one the one that has waited longest for a request is closed."""

HEALTH_CALLS = 64
"""gRPC calls beside the requests in flight: health checks, their watches, reflection, requests that are being refused."""

MAX_CONCURRENT_RPCS = MAX_IN_FLIGHT + HEALTH_CALLS
"""gRPC calls of one process; gRPC itself answers RESOURCE_EXHAUSTED above it, without a reason."""

MAX_STREAMS = HEALTH_CALLS // 2
"""Of these, those that stay open: watches of health, and reflection. One more is refused."""

ACCEPT_BACKLOG = 512
"""Connections that the kernel holds for us before they are accepted."""

HEADER_LINE_BYTES = 16 * 1024
"""Longest request line and longest header field; a longer one is answered 400."""

METADATA_BYTES = 16 * 1024
"""gRPC's counterpart: all metadata of one call."""

BODY_READ_TIMEOUT_S = 30.0
"""From the end of the headers to the last byte of the body; a slower client is answered 408."""

BODY_GRACE_S = 5.0
"""A body has this long, and a second more for every MIN_BODY_BYTES_PER_S that its headers announce: who sends little is
soon done, so that slow clients do not keep connections for the whole of BODY_READ_TIMEOUT_S."""

MIN_BODY_BYTES_PER_S = 64 * 1024
"""A slow mobile uplink."""

IDLE_TIMEOUT_S = 75.0
"""A kept connection without a request, also one that never sent its first; above Envoy's and the executor's pools."""

STALLED_CLIENT_S = 30.0
"""A client that takes nothing of its answer for so long is disconnected (the kernel's TCP_USER_TIMEOUT)."""

LINGERING_S = 2.0
"""How long the rest of a refused body is read and dropped, so that the client sees the answer and not a reset."""

DRAIN_S = 0.5
"""After SIGTERM: not ready, still serving, so that callers learn it before the ports close. A component serves longer where
its Pod's executor does."""

GRACE_S = 15.0
"""After the drain: time for the work under way; what is left then is cancelled."""

LEAVING_S = 0.5
"""A process that another replaces serves the connections that it has for so long at least: their requests are on their way."""

MAX_OUTLIVED_S = 60.0
"""A component waits so long for its Pod's executor that has begun to end; a Pod's own grace is shorter as a rule."""

MAX_HOLDERS = 256
"""Processes that wait for an executor's end: each worker of each component of a Pod; one more does not wait."""

DEFAULT_CALL_S = 5000.0
"""One call into a component where the Pod's annotations say nothing; after that the process ends (Seldon's default)."""

MIN_CALL_S = 60.0
"""The least that the annotations can make of it."""

HANG_CHECK_S = 5.0
HANG_CHECK_MIN_S = 0.05
"""Pauses between two looks at the call under way, longest and shortest."""

MAX_JSON_DEPTH = 100
"""Nesting of a JSON body; deeper is answered 400 (protobuf's own limit is 100 messages)."""

MAX_VALUES = 2_100_000
"""Values of one protobuf payload, messages and repeated texts of one protobuf body, lists and objects of one in JSON: as
many numbers as a body holds, also in lists of three."""

MAX_TOP_FIELDS = 8192
"""Fields of a protobuf message itself, repeated ones counted each: four lists of a thousand tensors, and room."""

CONTAINER_VALUES = 2
"""What a list or an object counts for beside its members."""

MAX_FORM_PARTS = 32
"""Fields of one form or multipart body."""

MAX_PART_HEADER_BYTES = 4 * 1024
"""Headers of one part of a multipart body."""

MAX_SERIES = 10_000
"""Time series that a component's own metrics may open; further ones are counted and dropped."""

MAX_PUID_CHARS = 256
"""A client's own request identifier: it is repeated in every answer and every call of a node."""
