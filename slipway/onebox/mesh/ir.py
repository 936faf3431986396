"""What the gateway shall do, in Envoy's words but free of its format: between Istio's objects and Envoy's resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from slipway.contract.callers import Caller
from slipway.onebox.mesh import limits
from slipway.onebox.mesh.ir_security import JwtRule, Policy

Protocol = Literal["http", "grpc", "tcp"]
PathKind = Literal["exact", "prefix", "regex"]
TextKind = Literal["exact", "prefix", "regex", "present"]
Balancing = Literal["LEAST_REQUEST", "ROUND_ROBIN", "RANDOM"]
Reason = Literal["Invalid", "NotSupported", "NotFound"]
"""Nobody could carry it out; a cluster could; it names an object that is not there, and may come."""


@dataclass(frozen=True, order=True)
class Finding:
    """Something in an object that cannot be honoured here. ``field`` is a path such as ``spec.http[0].fault``.

    ``reason``: as the event about it has it.
    """

    kind: str
    namespace: str
    name: str
    field: str
    message: str
    reason: Reason = "Invalid"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}: {self.field}: {self.message}"


@dataclass(frozen=True, order=True)
class Endpoint:
    """``pod`` is for the access log. ``port`` 0: a Unix socket, whose path is ``address``; -1: a listener of Envoy's own."""

    address: str
    port: int
    pod: str = ""


@dataclass(frozen=True)
class OutlierDetection:
    consecutive_5xx: int | None = None
    consecutive_gateway_errors: int | None = None
    interval_s: float = 10.0
    base_ejection_s: float = 30.0
    max_ejection_percent: int = 10


@dataclass(frozen=True)
class ClusterPolicy:
    """The part of a DestinationRule that is honoured."""

    idle_s: float = limits.UPSTREAM_IDLE_S
    connect_timeout_s: float = limits.CONNECT_TIMEOUT_S
    balancing: Balancing = "LEAST_REQUEST"
    max_connections: int = limits.MAX_UPSTREAM_CONNECTIONS
    max_pending: int = limits.MAX_UPSTREAM_PENDING
    max_requests: int = limits.MAX_UPSTREAM_REQUESTS
    retries_at_once: int = limits.RETRY_MIN_CONCURRENCY
    outlier: OutlierDetection | None = None


@dataclass(frozen=True)
class Cluster:
    """The ready endpoints of one port (and subset) of a Service, in address order.

    ``predictor`` (the subset) and ``version`` (its label) are for the access log.
    ``wakes``: the only endpoint leads to the activator, which is told this of every request.
    """

    name: str
    protocol: Protocol
    endpoints: tuple[Endpoint, ...]
    policy: ClusterPolicy = ClusterPolicy()
    predictor: str = ""
    version: str = ""
    wakes: str = ""


@dataclass(frozen=True)
class WeightedCluster:
    cluster: str
    weight: int


@dataclass(frozen=True)
class Mirror:
    """``percent`` from 0 to 100."""

    cluster: str
    percent: float = 100.0


@dataclass(frozen=True)
class TextMatch:
    """A condition on a header or a query parameter; ``present`` has an empty value."""

    name: str
    kind: TextKind
    value: str = ""
    inverted: bool = False


@dataclass(frozen=True)
class RouteMatch:
    kind: PathKind = "prefix"
    path: str = "/"
    headers: tuple[TextMatch, ...] = ()
    query: tuple[TextMatch, ...] = ()
    ignore_case: bool = False

    @property
    def is_catch_all(self) -> bool:
        everything = (self.kind, self.path) in {("prefix", "/"), ("regex", ".*"), ("regex", "/.*")}
        return everything and not self.headers and not self.query


@dataclass(frozen=True)
class Rewrite:
    """Either ``prefix`` (what the match matched becomes it) or ``regex`` with its substitution."""

    prefix: str | None = None
    regex: str | None = None
    substitution: str = ""
    authority: str | None = None


@dataclass(frozen=True)
class Retries:
    attempts: int = limits.RETRIES
    per_try_timeout_s: float = limits.PER_TRY_TIMEOUT_S
    on: tuple[str, ...] = ("reset", "connect-failure", "refused-stream", "retriable-status-codes")
    status_codes: tuple[int, ...] = (503,)


@dataclass(frozen=True)
class HeaderChanges:
    """Name-value pairs to set (replace) and to add, names to remove; ``request`` or ``response`` side."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True)
class DirectResponse:
    """An answer of Envoy's own: ``body`` as text, or the path of a file."""

    status: int
    content_type: str
    body: str = ""
    file: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class RateLimit:
    """``count`` requests per ``period_s``, over all Envoys together."""

    count: int
    period_s: float


@dataclass(frozen=True)
class Fault:
    """Made on purpose: a delay, an error of HTTP (``http_status`` above 0) or of gRPC, each for a share of requests."""

    delay_s: float = 0.0
    delay_percent: float = 0.0
    http_status: int = 0
    grpc_status: int = 0
    abort_percent: float = 0.0


@dataclass(frozen=True)
class Route:
    """One route. ``destinations`` holds effective weights, all above 0; empty means that nothing is ready.

    ``deployment`` is (namespace, SeldonDeployment) of its first destination, for the access log; empty where it has none.
    ``https_port``: it goes nowhere, the client is sent to HTTPS at that port. ``wakes``: a destination is at rest.
    ``absent``: why it can lead to nobody, as its destinations name what is not there.
    """

    name: str
    match: RouteMatch
    destinations: tuple[WeightedCluster, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    rewrite: Rewrite | None = None
    retries: Retries | None = field(default_factory=Retries)
    timeout_s: float = limits.ROUTE_TIMEOUT_S
    request_headers: HeaderChanges = HeaderChanges()
    response_headers: HeaderChanges = HeaderChanges()
    is_grpc: bool = False
    direct: DirectResponse | None = None
    deployment: tuple[str, str] = ("", "")
    sticky: Caller | None = None
    rate_limit: RateLimit | None = None
    fault: Fault | None = None
    https_port: int | None = None
    wakes: bool = False
    absent: str = ""


@dataclass(frozen=True)
class VirtualHost:
    """``policies``: who may pass; without any everybody."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    policies: tuple[Policy, ...] = ()


@dataclass(frozen=True)
class Certificate:
    """A Secret's chain and key in PEM; the key is no part of what is printed."""

    namespace: str
    name: str
    chain: str = field(repr=False)
    key: str = field(repr=False)


@dataclass(frozen=True)
class ClientCheck:
    """Whose certificates clients may show: signed by one of ``authorities`` (PEM), with one of ``names`` where there are any."""

    authorities: str = field(repr=False)
    names: tuple[str, ...] = ()
    is_required: bool = True


@dataclass(frozen=True)
class SecureChain:
    """One certificate and the hosts (SNI) it is shown for; ``*`` for all others. ``certificate`` is (namespace, name).

    ``versions``: the lowest and highest of TLS in Envoy's words, empty for its own.
    """

    hosts: tuple[str, ...]
    certificate: tuple[str, str]
    client: ClientCheck | None = None
    versions: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Listener:
    """One address. The gateway takes its routes from the virtual hosts, a Service's listener has one ``cluster``.

    ``jwt_rules``: whose tokens are valid. ``chains``: of an HTTPS port of the gateway.
    """

    name: str
    address: str
    port: int
    protocol: Protocol
    cluster: str | None = None
    jwt_rules: tuple[JwtRule, ...] = ()
    chains: tuple[SecureChain, ...] = ()


@dataclass(frozen=True)
class Mesh:
    """Everything, in a fixed order: equal inputs give equal values whatever order they came in.

    ``virtual_hosts`` are the gateway's, ``secure_hosts`` those of its HTTPS listeners by name.
    """

    listeners: tuple[Listener, ...]
    virtual_hosts: tuple[VirtualHost, ...]
    clusters: tuple[Cluster, ...]
    findings: tuple[Finding, ...] = ()
    secure_hosts: Mapping[str, tuple[VirtualHost, ...]] = field(default_factory=dict)
    certificates: tuple[Certificate, ...] = ()
