"""Every bound of the gateway: what a client, an upstream or a configuration may take at most."""

from __future__ import annotations

from slipway.contract.limits import MAX_BODY_BYTES

RETRY_BUFFER_BYTES = 2 * MAX_BODY_BYTES + 64 * 1024
"""What the router may keep for a retry or a mirror. Envoy counts a body that a filter has buffered twice
(envoyproxy/envoy#30613), and above this it silently skips both: see the counter ``retry_or_shadow_abandoned``."""
STREAMED_LENGTHS = "[0-9]{1,7}"
"""``Content-Length`` of bodies that pass as they come: below 10 MB, which a pattern can say. All others are received whole first."""
CONNECTION_BUFFER_BYTES = 1024 * 1024

RETRIES = 2
"""Attempts after the first, each on another endpoint where there is one."""
RETRY_HOST_ATTEMPTS = 16
"""Draws of a host that was not asked before: of two, each draw misses half the time, and 4 draws failed visibly often."""
RETRY_BUDGET_PERCENT = 20.0
RETRY_MIN_CONCURRENCY = 64
"""Retries at once that are allowed whatever the share. A replica that dies fails all of its requests together, of two
replicas half of what is under way: with Envoy's 3 the others were lost (14 of 903 in four deaths on a busy machine)."""
WAKE_RETRIES = 20
WAKE_BACKOFF_S = 0.1
WAKE_BACKOFF_MAX_S = 1.0
"""Of what waits at the activator, while that is started again: Envoy draws each pause between nothing and twice the last
one's bound, so these are 9 s in the middle, and hardly ever less than 6."""
RETRY_BACKOFF_S = 0.01
RETRY_BACKOFF_MAX_S = 0.1
"""Short: retries are for another replica. They cannot bridge the restart of a lone one, whose endpoint is withdrawn at
once, and requests that wait for their next try use up the budget: the others would be refused as OVERLOADED."""
PER_TRY_TIMEOUT_S = 60.0
ROUTE_TIMEOUT_S = 180.0

CONNECT_TIMEOUT_S = 1.0
UPSTREAM_IDLE_S = 60.0
"""Below the 65 s after which an executor closes an idle connection, so that the race is always won by Envoy."""
MAX_UPSTREAM_CONNECTIONS = 1024
MAX_UPSTREAM_PENDING = 1024
MAX_UPSTREAM_REQUESTS = 1024
MAX_COPIES = 64
"""Under way to one shadow at a time, of each Envoy; more are not made. A shadow that hangs keeps every copy until its
time is over: with 1024 of 8 MiB the heap would be full, and live requests refused."""
MAX_CONCURRENT_STREAMS = 256

MAX_DOWNSTREAM_CONNECTIONS = 4096
"""Per Envoy."""
MAX_HEAP_BYTES = 1024 * 1024 * 1024
"""Per Envoy: near it no request is taken any more (503), which bounds what buffered bodies can use."""
RELEASED_BYTES = 8 * 1024 * 1024
RELEASE_S = 1.0
"""So much free heap goes back to the kernel so often: what bodies and changes of the configuration took at their peak."""
DOWNSTREAM_IDLE_S = 300.0
HEADERS_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 120.0
"""From the first byte of a request to its last."""
STREAM_IDLE_S = 200.0
"""Above ROUTE_TIMEOUT_S: a stream waiting for its answer is idle."""
DELAYED_CLOSE_S = 1.0
DRAIN_S = 5.0
MAX_HEADERS_KIB = 60
MAX_HEADERS = 100
HTTP2_STREAM_WINDOW_BYTES = 1024 * 1024
HTTP2_CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
TCP_IDLE_S = 3600.0

MAX_PAGE_BYTES = 256 * 1024
"""Bodies that Envoy answers itself: the page and the list of deployments."""
MAX_HOST_CHARS = 253
"""Of a destination's host or subset, in what is said of it: the longest name of DNS."""
MAX_REGEX_CHARS = 1024
MAX_NUMBER = 2**31 - 1
MAX_DURATION_S = 7 * 24 * 3600.0
"""Above these a number of a manifest is not used: one that Envoy cannot read would make a whole file unreadable."""
MAX_UNICODE_CLASSES = 8
"""Of one expression. RE2 reads one that ignores case in 6 ms: 300 of them held up the mesh, and each Envoy, for 2 s."""
MAX_REGEX_PROGRAM = 4096

MAX_KEY_SOURCES = 16
"""Hosts that issuers' keys are fetched from: a cluster each."""
KEY_FETCHES = 4
"""At a time, from one of them, by each Envoy."""
KEY_FETCH_TIMEOUT_S = 5.0
"""Where a rule has no ``timeout``; Istio's default."""
MAX_KEY_FETCH_TIMEOUT_S = 60.0
KEYS_CACHE_S = 300.0
"""How long fetched keys are used; they are fetched anew in the background before that."""
KEYS_RETRY_S = 5.0
"""After a fetch that failed; a token that needs the keys asks at once."""
KEY_HOST_REFRESH_S = 60.0

APPLY_TIMEOUT_S = 2.0
"""How long one step of a change waits for the Envoys that run."""
SILENT_QUESTIONS = 2
"""After so many without an answer, an Envoy that runs counts as stuck. One may fall into a moment in which nothing ran."""
LISTEN_S = 0.5
"""How often an Envoy that is stuck is asked whether it goes on, beside whatever is published."""
CHECK_S = 5.0
"""How often the Envoys are asked whether they still have what was published: one may have been away at the time."""
VALIDATE_TIMEOUT_S = 10.0
MAX_REASON_CHARS = 500
ADMIN_TIMEOUT_S = 0.5
MAX_ADMIN_BYTES = 8 * 1024 * 1024
SETTLE_S = 0.02
"""Changes within this time of each other become one."""
ACCESS_LOG_BYTES = 32 * 1024 * 1024
"""At this size an access log becomes ``<name>.1`` and a new one is begun; one old file is kept."""
ACCESS_LOG_CHECK_S = 5.0
ACCESS_LOG_FLUSH_S = 1.0
"""How long a line may be in Envoy's memory before it is in the file."""
MAX_REPORTED = 1000
"""Findings remembered so that each is reported once."""
FINDING_SETTLE_S = 2.0
TICK_S = 1.0
