"""What `slipway up` can be told, and remembers in SLIPWAY_HOME/settings.json: one table of names, defaults, sentences."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
MIN_PORT, MAX_PORT = 1, 65535
CLUSTER_NETWORKS = ipaddress.IPv4Network("127.96.0.0/12")
"""Where the addresses of Services lie; each home has a part of it, because two Envoys of one user may share an address."""

RESERVED_ADDRESSES = 2
"""The last of a home's network, which no Service gets: Envoy 0 shows its metrics at the last, Envoy 1 at the one before."""


class SettingsError(Exception):
    """A settings file or value is wrong; the message names it and what would be right."""


def _port(default: int, sentence: str) -> Any:
    return field(default=default, metadata={"help": sentence})


@dataclass(frozen=True)
class Settings:
    """TCP ports on 127.0.0.1, addresses of Services, optional parts. What is internal is empty until `slipway up` picks it."""

    gateway_port: int = _port(8080, "Predictions, REST and gRPC, and the page to drop a photo on.")
    api_port: int = _port(8001, "The Kubernetes API.")
    mlflow_port: int = _port(5000, "MLflow's server and pages.")
    s3_port: int = _port(8333, "The S3 API.")
    hub_port: int = _port(8000, "JupyterHub, where it was chosen.")
    s3_account_port: int = _port(0, "Swift's account server, internal.")
    s3_container_port: int = _port(0, "Swift's container server, internal.")
    s3_object_port: int = _port(0, "Swift's object server, internal.")
    hub_server_port: int = _port(0, "JupyterHub behind its proxy, internal.")
    hub_proxy_port: int = _port(0, "Where that proxy takes JupyterHub's orders, internal.")
    cluster_network: str = field(default="", metadata={"help": "The addresses of Services, internal."})
    with_hub: bool = field(default=False, metadata={"help": "Whether `slipway up` starts JupyterHub too."})
    hub_first_uid: int = field(default=0, metadata={"help": "As root: the first number of the hub's users, internal."})

    def __post_init__(self) -> None:
        if self.cluster_network:
            parse_cluster_network(self.cluster_network)
        if not isinstance(self.with_hub, bool):
            raise SettingsError(f"with_hub: {self.with_hub!r} is neither true nor false")
        if not isinstance(self.hub_first_uid, int) or self.hub_first_uid < 0:
            raise SettingsError(f"hub_first_uid: {self.hub_first_uid!r} is no user number")
        ports = {item.name: getattr(self, item.name) for item in fields(self) if item.name.endswith("_port")}
        for name, number in ports.items():
            lowest = 0 if name in INTERNAL else MIN_PORT
            if not isinstance(number, int) or not lowest <= number <= MAX_PORT:
                raise SettingsError(f"{name}: {number!r} is not a port: expected a number from {lowest} to {MAX_PORT}")
        chosen = [number for number in ports.values() if number]
        if len(set(chosen)) != len(chosen):
            raise SettingsError(f"two settings have the same port: {ports}")


def parse_cluster_network(text: str) -> ipaddress.IPv4Network:
    """A network inside CLUSTER_NETWORKS.

    Raises:
        SettingsError: it is none.
    """
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise SettingsError(f"cluster_network: {error}: expected a part of {CLUSTER_NETWORKS}") from error
    if not network.subnet_of(CLUSTER_NETWORKS):
        raise SettingsError(f"cluster_network: {text}: expected a part of {CLUSTER_NETWORKS}")
    return network


def reserved_address(network: ipaddress.IPv4Network, index: int) -> str:
    """Counted from the last; below ``RESERVED_ADDRESSES``."""
    return str(network.broadcast_address - 1 - index)


INTERNAL = ("s3_account_port", "s3_container_port", "s3_object_port", "hub_server_port", "hub_proxy_port")


def load_settings(path: Path) -> Settings:
    """The remembered settings; the defaults when there is no file.

    Raises:
        SettingsError: not JSON, an unknown name, or a value that is no port.
    """
    if not path.exists():
        return Settings()
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise SettingsError(
            f"{path}: not JSON: {error}: correct it, or delete it to go back to the defaults"
        ) from error
    known = {item.name for item in fields(Settings)}
    if not isinstance(content, dict) or content.keys() - known:
        unknown = sorted(content.keys() - known) if isinstance(content, dict) else content
        raise SettingsError(f"{path}: unknown settings {unknown}: known are {sorted(known)}")
    return Settings(**content)


def save_settings(path: Path, settings: Settings) -> None:
    """Write the file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(asdict(settings), indent=2) + "\n")
    scratch.replace(path)


def with_ports(settings: Settings, chosen: Mapping[str, int | None]) -> Settings:
    """The settings with the ports that somebody named (None: not named)."""
    named: dict[str, Any] = {name: number for name, number in chosen.items() if number is not None}
    return replace(settings, **named)


def with_internal_ports(settings: Settings, *, taken: Iterable[int]) -> Settings:
    """The settings with a free port for every internal one that has none, or whose port is among ``taken``."""
    avoid = set(taken)
    missing = [name for name in INTERNAL if not getattr(settings, name) or getattr(settings, name) in avoid]
    found: dict[str, Any] = dict(zip(missing, _free_ports(len(missing)), strict=True))
    return replace(settings, **found)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
