"""One container: its ports, environment, mounts and resources, as Kubernetes takes them (pkg/apis/core/validation)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from slipway.contract.causes import Cause
from slipway.contract.field_causes import NOT_BELOW_ZERO, duplicate, invalid, quote, required, unsupported
from slipway.contract.fields import Fields
from slipway.contract.port_rules import PROTOCOLS, port_name, port_number
from slipway.contract.probe_rules import probe_causes
from slipway.contract.quantity import parse_quantity

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
ENV_NAME = re.compile(r"[ -<>-~]+")
ENV_NAME_WORDS = "a valid environment variable name must consist only of printable ASCII characters other than '='"
ENV_SOURCES = ("configMapKeyRef", "fieldRef", "resourceFieldRef", "secretKeyRef")


def container_causes(container: Fields, *, is_init: bool) -> Iterator[Cause]:
    """Raises FieldError where a field is of another type."""
    yield from _ports(container)
    yield from env_causes(container)
    yield from _mounts(container)
    yield from resource_causes(container)
    yield from probe_causes(container, is_init=is_init and container.text("restartPolicy") != "Always")
    policy = container.text("imagePullPolicy")
    if policy and policy not in PULL_POLICIES:
        yield unsupported(container.at("imagePullPolicy"), policy, PULL_POLICIES)


def _ports(container: Fields) -> Iterator[Cause]:
    """Numbers that are ports, names once each."""
    seen: set[str] = set()
    for port in container.items("ports", Fields.of):
        name, number, host = port.text("name"), port.whole("containerPort") or 0, port.whole("hostPort") or 0
        if name:
            yield from port_name(name, port.at("name"))
        if name in seen:
            yield duplicate(port.at("name"), quote(name))
        seen |= {name} - {""}
        if number == 0:
            yield required(port.at("containerPort"))
        else:
            yield from port_number(number, port.at("containerPort"))
        if host:
            yield from port_number(host, port.at("hostPort"))
        if (protocol := port.text("protocol") or "TCP") not in PROTOCOLS:
            yield unsupported(port.at("protocol"), protocol, PROTOCOLS)


def env_causes(fields: Fields) -> Iterator[Cause]:
    """``fields``: whatever has an ``env``. Names may come twice: the last one counts."""
    for item in fields.items("env", Fields.of):
        name = item.text("name")
        if not name:
            yield required(item.at("name"))
        elif not ENV_NAME.fullmatch(name):
            yield invalid(item.at("name"), name, ENV_NAME_WORDS)
        source = item.child("valueFrom")
        if source is None:
            continue
        given = [key for key in ENV_SOURCES if source.child(key) is not None]
        if item.text("value"):
            yield invalid(source.path, "", "may not be specified when `value` is not empty")
        if not given:
            known = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
            yield invalid(source.path, "", f"must specify one of: {known}")
        elif len(given) > 1:
            yield invalid(source.path, "", "may not have more than one field specified at a time")


def _mounts(container: Fields) -> Iterator[Cause]:
    """One volume at one path, and of that volume nothing outside."""
    seen: set[str] = set()
    for mount in container.items("volumeMounts", Fields.of):
        path, below = mount.text("mountPath"), mount.text("subPath")
        if not path:
            yield required(mount.at("mountPath"))
        elif path in seen:
            yield invalid(mount.at("mountPath"), path, "must be unique")
        seen.add(path)
        if below.startswith("/"):
            yield invalid(mount.at("subPath"), below, "must be a relative path")
        if ".." in below.split("/"):
            yield invalid(mount.at("subPath"), below, "must not contain '..'")


def resource_causes(fields: Fields) -> Iterator[Cause]:
    """``fields``: whatever has ``resources``: quantities that are not below 0, and no request above its limit."""
    resources = fields.child("resources")
    if resources is None:
        return
    read: dict[str, dict[str, Decimal]] = {"limits": {}, "requests": {}}
    for part, known in read.items():
        for name, value in (resources.mapping(part) or {}).items():
            try:
                known[name] = parse_quantity(value)
            except ValueError as error:
                yield invalid(f"{resources.at(part)}[{name}]", value, str(error))
                continue
            if known[name] < 0:
                yield invalid(f"{resources.at(part)}[{name}]", value, NOT_BELOW_ZERO)
    for name in sorted(read["requests"].keys() & read["limits"].keys()):
        if read["requests"][name] > read["limits"][name]:
            asked, limit = (resources.values[part][name] for part in ("requests", "limits"))
            yield invalid(resources.at("requests"), asked, f"must be less than or equal to {name} limit of {limit}")
