"""Ports: their numbers, their names, and what may stand for either (apimachinery's util/validation)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import invalid
from slipway.contract.limits import MAX_PORT

MAX_PORT_NAME = 15
PROTOCOLS = ("SCTP", "TCP", "UDP")
_CHARACTERS = re.compile(r"[-a-z0-9]+")


def port_number(number: int, path: str) -> Iterator[Cause]:
    if not 0 < number <= MAX_PORT:
        yield invalid(path, number, f"must be between 1 and {MAX_PORT}, inclusive")


def port_name(name: str, path: str) -> Iterator[Cause]:
    """RFC 6335 section 5.1, in small letters."""
    yield from (invalid(path, name, words) for words in _faults(name))


def port_reference(value: Any, path: str) -> Iterator[Cause]:
    """A number, or the name of a container's port."""
    if isinstance(value, str):
        yield from port_name(value, path)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from port_number(value, path)
    else:
        yield invalid(path, value, "must be a port's number or name")


def _faults(name: str) -> Iterator[str]:
    if len(name) > MAX_PORT_NAME:
        yield f"must be no more than {MAX_PORT_NAME} characters"
    if not _CHARACTERS.fullmatch(name):
        yield "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search("[a-z]", name):
        yield "must contain at least one letter (a-z)"
    if "--" in name:
        yield "must not contain consecutive hyphens"
    if name.startswith("-") or name.endswith("-"):
        yield "must not begin or end with a hyphen"
