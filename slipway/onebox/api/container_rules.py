"""A container's ports and resources: what Kubernetes refuses of them (pkg/apis/core/validation)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.quantity import parse_quantity
from slipway.crd.structural import quote
from slipway.onebox.api.errors import Cause

Object = Mapping[str, Any]
MAX_PORT = 65535
MAX_PORT_NAME = 15
PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
"""RFC 6335 section 5.1, in small letters."""
PROTOCOLS = ("SCTP", "TCP", "UDP")


def check_ports(container: Object, at: str) -> Iterator[Cause]:
    """Numbers from 1 to MAX_PORT, names once each."""
    seen: set[str] = set()
    for index, port in enumerate(container.get("ports") or ()):
        path, name, number = f"{at}.ports[{index}]", port.get("name") or "", port.get("containerPort") or 0
        if name:
            yield from _name(name, seen, f"{path}.name")
        if number == 0:
            yield Cause(f"{path}.containerPort", "Required value", "FieldValueRequired")
        else:
            yield from _number(number, f"{path}.containerPort")
        if port.get("hostPort"):
            yield from _number(port["hostPort"], f"{path}.hostPort")
        if port.get("protocol", "TCP") not in PROTOCOLS:
            known = ", ".join(quote(item) for item in PROTOCOLS)
            message = f"Unsupported value: {quote(port['protocol'])}: supported values: {known}"
            yield Cause(f"{path}.protocol", message, "FieldValueNotSupported")


def _name(name: str, seen: set[str], path: str) -> Iterator[Cause]:
    if len(name) > MAX_PORT_NAME:
        yield Cause(path, f"Invalid value: {quote(name)}: must be no more than {MAX_PORT_NAME} characters")
    elif not PORT_NAME.fullmatch(name):
        words = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-) between them, and a letter"
        yield Cause(path, f"Invalid value: {quote(name)}: {words}")
    elif name in seen:
        yield Cause(path, f"Duplicate value: {quote(name)}", "FieldValueDuplicate")
    seen.add(name)


def _number(number: int, path: str) -> Iterator[Cause]:
    if not 0 < number <= MAX_PORT:
        yield Cause(path, f"Invalid value: {number}: must be between 1 and {MAX_PORT}, inclusive")


def check_resources(container: Object, at: str) -> Iterator[Cause]:
    """Nothing below 0, and no request above its limit. That each is a quantity, the decoder has seen to."""
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for part, given in (("limits", limits), ("requests", requests)):
        for name, value in given.items():
            if parse_quantity(value) < 0:
                message = f"Invalid value: {quote(value)}: must be greater than or equal to 0"
                yield Cause(f"{at}.resources.{part}[{name}]", message)
    for name in requests.keys() & limits.keys():
        if parse_quantity(requests[name]) > parse_quantity(limits[name]):
            message = (
                f"Invalid value: {quote(requests[name])}: must be less than or equal to {name} limit of {limits[name]}"
            )
            yield Cause(f"{at}.resources.requests", message)
