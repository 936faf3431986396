"""Parts of Istio's objects that several kinds have, and what its webhook refuses of them (pkg/config/validation). Pure.

A message begins with the field, relative to ``spec``. What has another shape than Istio's schema says is passed over:
the mesh tells of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import re2

from slipway.contract.field_causes import quote
from slipway.contract.ip_addresses import is_ip_address

LABEL = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
FIRST_LABEL = re.compile(rf"\*|(\*-?)?{LABEL.pattern}")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DURATION = re.compile(r"(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
MAX_HOST_CHARS = 255
MAX_PORT = 65535
MAX_SHOWN = 80
MAX_REGEX_CHARS = 1024
REGEX_BYTES = 64 * 1024
"""Of memory for one: reading one takes up to 3 ms then."""
UNICODE_CLASS = re.compile(r"\\[pP]")
RE2_SYNTAX = "Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)"


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def rows(owner: Mapping[str, Any], key: str) -> list[Any]:
    value = owner.get(key)
    return value if isinstance(value, list) else []


def each(owner: Mapping[str, Any], key: str, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The path and the mapping of each item of the list under ``key``."""
    at = f"{path}.{key}" if path else key
    return ((f"{at}[{index}]", item) for index, item in enumerate(rows(owner, key)) if isinstance(item, Mapping))


def shown(value: Any) -> str:
    """In Go's quotes, cut."""
    return quote(str(value)[:MAX_SHOWN])


def host(value: Any, path: str) -> Iterator[str]:
    """A DNS name, whose first label may be ``*`` or begin with it, or an IP address."""
    text = str(value)
    if not text:
        yield f"{path}: empty domain name not allowed"
        return
    if len(text) > MAX_HOST_CHARS:
        yield f"{path}: domain name {shown(text)} too long (max {MAX_HOST_CHARS})"
        return
    first, _, rest = text.partition(".")
    labels = [label for label in rest.removesuffix(".").split(".") if rest]
    bad = [label for label in labels if not LABEL.fullmatch(label)]
    if not FIRST_LABEL.fullmatch(first):
        bad.insert(0, first)
    if labels and labels[-1].isdigit():
        bad.append(labels[-1])
    if bad and not is_ip_address(text):
        yield f"{path}: domain name {shown(text)} invalid (label {shown(bad[0])} invalid)"


def subset_name(value: Any, path: str) -> Iterator[str]:
    if not value:
        yield f"{path}: subset name cannot be empty"
    elif not DNS_LABEL.fullmatch(str(value)):
        yield f"{path}: subset name is invalid: {shown(value)}"


def port(value: Any, path: str) -> Iterator[str]:
    """A number from 1 to 65535; absent is 0."""
    if isinstance(value or 0, int) and not 1 <= (value or 0) <= MAX_PORT:
        yield f"{path}: port number {value or 0} must be in the range 1..{MAX_PORT}"


def duration(value: Any, path: str) -> Iterator[str]:
    if value is not None and (not isinstance(value, str) or "".join(m[0] for m in DURATION.finditer(value)) != value):
        yield f"{path}: {shown(value)}: must be a valid duration such as 1.5s"


def percent(value: Any, path: str) -> Iterator[str]:
    """A number from 0 to 100."""
    if isinstance(value, int | float) and not 0 <= value <= 100:
        yield f"{path}: percentage {value} is not in range 0..100"


def regex(value: Any, path: str) -> Iterator[str]:
    """RE2's syntax. Unicode classes, which it may read for seconds, and size are left to the mesh."""
    if value == "":
        yield f"{path}: regex string match should not be empty"
    elif isinstance(value, str) and len(value) > MAX_REGEX_CHARS:
        yield f"{path}: regex is too large, max length allowed is {MAX_REGEX_CHARS}"
    elif isinstance(value, str) and not UNICODE_CLASS.search(value) and (problem := _syntax(value)):
        yield f"{path}: error parsing regexp: {problem[: 2 * MAX_SHOWN]}; {RE2_SYNTAX}"


def _syntax(pattern: str) -> str:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = REGEX_BYTES
    try:
        re2.compile(pattern.encode(errors="replace"), options)
    except re2.error as exc:
        said = str(exc.args[0].decode(errors="replace"))
        return "" if said.startswith("pattern too large") else said
    return ""
