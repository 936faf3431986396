"""The files of the mesh: where each lies below ``Paths.mesh``, and the Envoys that read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipway.onebox.file_names import MAX_FILE_NAME_BYTES, file_name
from slipway.onebox.mesh.ir import Protocol
from slipway.onebox.paths import Paths

ENVOYS = (0, 1)
CERTIFICATES = "certificate-"
MAX_NAME_BYTES = MAX_FILE_NAME_BYTES - 8
"""A file is written beside its place, under a somewhat longer name."""


@dataclass(frozen=True)
class Layout:
    """Every file of the mesh of one platform."""

    paths: Paths

    def bootstrap(self, index: int) -> Path:
        return self.paths.mesh / f"bootstrap-{index}.json"

    def listeners(self, index: int) -> Path:  # they differ in where the access log goes
        return self.paths.mesh / f"listeners-{index}.json"

    @property
    def clusters(self) -> Path:
        return self.paths.mesh / "clusters.json"

    @property
    def routes(self) -> Path:
        return self.paths.mesh / "routes.json"

    @property
    def targets(self) -> Path:  # what Prometheus is to scrape
        return self.paths.mesh / "targets"

    @property
    def envoy_targets(self) -> Path:
        return self.targets / "envoys.json"

    @property
    def pod_targets(self) -> Path:
        return self.targets / "pods.json"

    def routes_of(self, listener: str) -> Path:
        """Of an HTTPS listener: Envoy takes a file of routes with one configuration only."""
        return self.paths.mesh / f"routes-{listener}.json"

    def certificate(self, namespace: str, name: str) -> Path:
        """Of a Secret; a namespace has no dot."""
        return self.paths.mesh / file_name(
            f"{CERTIFICATES}{namespace}.{name}", suffix=".json", most_bytes=MAX_NAME_BYTES
        )

    def admin_socket(self, index: int) -> Path:
        return self.paths.sockets / f"envoy-{index}.sock"

    def activator_socket(self, protocol: Protocol) -> Path:
        return self.paths.sockets / f"activator-{protocol}.sock"

    @property
    def activator_sockets(self) -> dict[Protocol, str]:
        """By each protocol whose requests the activator can hold."""
        held: tuple[Protocol, ...] = ("http", "grpc")
        return {protocol: str(self.activator_socket(protocol)) for protocol in held}

    def access_log(self, index: int) -> Path:
        return self.paths.logs / f"access-{index}.log"
