"""Reading Istio's objects: durations, numbers, and every field that nobody reads is a finding."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slipway.onebox.mesh.ir import Finding, Reason
from slipway.onebox.mesh.limits import MAX_DURATION_S, MAX_NUMBER
from slipway.onebox.mesh.regexes import regex_problem

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|s|m|h)")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~-]+")
"""Without %, which Envoy would expand, and without pseudo-headers."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Reader:
    """A mapping of one object, its path in it, and where findings about it are collected."""

    data: Mapping[str, Any]
    kind: str
    namespace: str
    name: str
    path: str
    findings: list[Finding] = field(repr=False)

    @classmethod
    def of(cls, obj: Mapping[str, Any], findings: list[Finding]) -> Reader:
        """The reader of an object's ``spec``."""
        meta = obj["metadata"]
        spec = obj.get("spec")
        known = spec if isinstance(spec, Mapping) else {}
        reader = cls(known, str(obj.get("kind")), meta.get("namespace", ""), meta["name"], "spec", findings)
        if spec is not None and not isinstance(spec, Mapping):
            reader.report("", f"{spec!r} is not a mapping")
        return reader

    def at(self, path: str) -> Reader:
        """Findings of it are about ``path`` of the object, which is no part of its spec."""
        return replace(self, data={}, path=path)

    def report(self, key: str, message: str, reason: Reason = "Invalid") -> None:
        path = f"{self.path}.{key}" if key else self.path
        self.findings.append(Finding(self.kind, self.namespace, self.name, path, message, reason))

    def elsewhere(self, key: str, message: str) -> None:
        """It is right on a cluster, and not carried out on one machine."""
        self.report(key, message, "NotSupported")

    def lacks(self, key: str, message: str) -> None:
        """What it names is not there, and may come."""
        self.report(key, message, "NotFound")

    def only(self, known: Collection[str]) -> bool:
        """Whether every key is in ``known``; each other one is reported."""
        unknown = sorted(key for key, value in self.data.items() if key not in known and value not in (None, {}, []))
        for key in unknown:
            self.elsewhere(key, "not supported on one machine: it has no effect here")
        return not unknown

    def child(self, key: str) -> Reader:
        """The mapping under ``key``; empty where it is absent, reported where it is something else."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, Mapping):
            self.report(key, f"{value!r} is not a mapping")
            value = None
        return replace(self, data=value or {}, path=f"{self.path}.{key}")

    def children(self, key: str) -> Iterator[Reader]:
        """A reader for each mapping of the list under ``key``."""
        for index, item in enumerate(self.items(key)):
            if isinstance(item, Mapping):
                yield replace(self, data=item, path=f"{self.path}.{key}[{index}]")
            else:
                self.report(f"{key}[{index}]", f"{item!r} is not a mapping")

    def items(self, key: str) -> tuple[Any, ...]:
        value = self.data.get(key)
        if value is None or isinstance(value, list | tuple):
            return tuple(value or ())
        self.report(key, f"{value!r} is not a list")
        return ()

    def text(self, key: str, default: str = "") -> str:
        value = str(self.data.get(key) if self.data.get(key) is not None else default)
        if _CONTROL.search(value):
            self.report(key, f"{value[:80]!r} has control characters: it is not used")
            return default
        return value

    def number(self, key: str, default: int) -> int:
        """An integer from 0 to MAX_NUMBER; anything else is reported and read as 0."""
        value = self.data.get(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER:
            return value
        self.report(key, f"{value!r} is not a whole number from 0 to {MAX_NUMBER}: read as 0")
        return 0

    def seconds(self, key: str, default: float, *, least: float = 0.0) -> float:
        """A duration such as ``1.5s`` or ``1m30s``, from ``least`` to MAX_DURATION_S."""
        value = self.data.get(key)
        if value is None:
            return default
        parts = _DURATION.findall(str(value))
        if not parts or "".join(number + unit for number, unit in parts) != str(value):
            self.report(key, f"{value!r} is not a duration such as 1.5s or 1m30s: {default:g} s is used")
            return default
        found = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        if least <= found <= MAX_DURATION_S:
            return found
        self.report(key, f"{value!r} is not between {least:g} and {MAX_DURATION_S:g} s: {default:g} s is used")
        return default

    def header_name(self, key: str) -> str:
        """A name that Envoy takes; empty, and a finding, for one that it does not."""
        value = self.text(key)
        if value and not HEADER_NAME.fullmatch(value):
            self.report(key, f"{value[:80]!r} is not a header name: it has no effect")
            return ""
        return value

    def regex(self, key: str) -> str | None:
        """A regular expression that RE2 takes; None, and a finding, for one that it does not."""
        value = self.text(key)
        if problem := regex_problem(value):
            self.report(key, f"{value[:80]!r} {problem}")
            return None
        return value
