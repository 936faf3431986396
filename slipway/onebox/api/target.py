"""One request as values: which objects it is about, and with which options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import quote
from slipway.onebox.api.errors import Refused, bad_request, invalid
from slipway.onebox.api.resources import Resource, Version

MAX_MANAGER_CHARS = 128
MAX_VERSION_CHARS = 19
"""Digits of a resourceVersion: more than any that was given out."""


@dataclass(frozen=True)
class Target:
    """``name`` is empty for a collection, ``namespace`` for cluster-wide kinds and for all namespaces."""

    resource: Resource
    version: Version
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def api_version(self) -> str:
        return self.resource.api_version(self.version.name)

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


@dataclass(frozen=True)
class Options:
    """How to write. ``validation`` is Strict, Warn or Ignore."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False


def parse_options(query: Mapping[str, str], *, kind: str, agent: str) -> Options:
    """The write options of a query; ``kind`` names them in errors (CreateOptions, …). Raises Refused 422."""
    causes = []
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        message = f'Unsupported value: []string{{{quote(dry_run)}}}: supported values: "All"'
        causes.append(Cause("dryRun", message, "FieldValueNotSupported"))
    validation = query.get("fieldValidation", "")
    if validation not in ("", "Ignore", "Strict", "Warn"):
        message = f'Unsupported value: {quote(validation)}: supported values: "", "Ignore", "Strict", "Warn"'
        causes.append(Cause("fieldValidation", message, "FieldValueNotSupported"))
    manager = query.get("fieldManager") or agent.partition("/")[0][:MAX_MANAGER_CHARS] or "unknown"
    manager = manager.encode(errors="replace").decode()  # headers hold what is no UTF-8 as surrogates
    if len(manager) > MAX_MANAGER_CHARS:
        message = f"Too long: may not be more than {MAX_MANAGER_CHARS} bytes"
        causes.append(Cause("fieldManager", message, "FieldValueTooLong"))
    if causes:
        raise options_refused(kind, causes)
    return Options(manager, dry_run == "All", validation or "Warn", query.get("force") in ("true", "1"))


def options_refused(kind: str, causes: list[Cause]) -> Refused:
    return _invalid_meta(kind, causes)


def _invalid_meta(kind: str, causes: list[Cause]) -> Refused:
    refused = invalid(kind, "meta.k8s.io", "", causes)
    refused.details = {"group": "meta.k8s.io", "kind": kind, "causes": (refused.details or {})["causes"]}
    return refused


def parse_version(text: str) -> int:
    """A resourceVersion of a query: 0 where it is absent. Refused 500 where it is no number, as Kubernetes does."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise Refused(
            500, f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    if len(text) > MAX_VERSION_CHARS:
        shown = f"{text[:MAX_VERSION_CHARS]}..."
        raise Refused(
            500, f'resourceVersion: Invalid value: "{shown}": strconv.ParseUint: parsing "{shown}": value out of range'
        )
    return int(text)


def parse_int(text: str) -> int:
    """A whole number of a query; Refused 400 in Go's words."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


Object = dict[str, Any]
