"""Who shares a network with whom in a Compose file, and names of hosts that nobody there answers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from tests.compose.files import Object

HOSTS = frozenset({"PGHOST"})
"""Variables that are a host's bare name. Those of URLs are found by their form."""
URLS = ("http", "https", "postgresql")
"""Schemes with a host; that of s3:// is a bucket, of models:/ none."""
OF_NOBODY = frozenset({"default-broker"})
"""The controller's default for Seldon's request logger, which this graph does not ask for."""
NOT_ASKED = frozenset({("migrate", "AWS_ENDPOINT_URL")})
"""(service, variable) of a secret that it shares with another service, and does not use."""
IMPLIED = frozenset({"default"})
"""Compose's own network, of who names none."""
HERE = frozenset({"localhost", "127.0.0.1"})
SHARED = "service:"


def complaints(document: Object, environments: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """``environments``: service → its variables, of its files and secrets, too."""
    services: Mapping[str, Object] = document["services"]
    declared = set(document.get("networks") or {})
    for name, service in services.items():
        mode = service.get("network_mode", "")
        if mode.startswith(SHARED) and mode.removeprefix(SHARED) not in services:
            yield f"{name}: network_mode {mode} is of no service"
        yield from (
            f"{name}: nothing declares the network {item}" for item in sorted(joined(service) - declared - IMPLIED)
        )
        known = set(reached(name, services))
        for key, host in hosts(environments[name]):
            if host not in known | HERE | OF_NOBODY and (name, key) not in NOT_ASKED:
                yield f"{name}: {key} names {host}, which shares no network with it"
    used = {item for service in services.values() for item in joined(service)}
    yield from (f"the network {item} is nobody's" for item in sorted(declared - used))


def joined(service: Object) -> set[str]:
    return set() if "network_mode" in service else set(service.get("networks") or IMPLIED)


def reached(name: str, services: Mapping[str, Object]) -> Iterator[str]:
    """Names and aliases that resolve in a service, by https://docs.docker.com/compose/how-tos/networking/."""
    mode = services[name].get("network_mode", "")
    owner = mode.removeprefix(SHARED) if mode.startswith(SHARED) else name
    for other, service in services.items():
        for network in joined(service) & joined(services.get(owner, {"network_mode": "none"})):
            given = service.get("networks")
            yield other
            yield from ((given[network] or {}).get("aliases") or ()) if isinstance(given, dict) else ()


def hosts(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in environment.items():
        if key in HOSTS:
            yield key, value
        url = urlsplit(value) if "://" in value else None
        if url and url.scheme.partition("+")[0] in URLS and url.hostname:
            yield key, url.hostname
