"""What `slipway check` says: findings with their place in a file, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from slipway.contract.following import printable

Severity = Literal["error", "warning"]


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong, or may be. ``line`` counts from 1, 0 where a file has none for it.

    ``object`` is ``Kind name``, empty where a file as a whole is meant; ``field`` is a path as the API writes it.
    """

    file: str
    line: int
    severity: Severity
    message: str
    object: str = ""
    field: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        about = ": ".join(part for part in (self.object, self.field, self.message) if part)
        return printable(f"{place}: {self.severity}: {about}")


@dataclass(frozen=True)
class Report:
    """``objects`` counts the manifests that were looked at, rendered ones included; ``others`` names YAML that is none."""

    findings: tuple[Finding, ...]
    objects: int
    kustomizations: int
    others: tuple[str, ...]

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.errors

    def as_json(self) -> dict[str, Any]:
        counts = {"errors": self.errors, "warnings": self.warnings, "objects": self.objects}
        return {
            **counts,
            "kustomizations": self.kustomizations,
            "findings": [asdict(finding) for finding in self.findings],
            "others": list(self.others),
        }


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By place; what several kustomizations have in common is said once."""
    return tuple(sorted(set(findings)))


def render_report(report: Report) -> str:
    """One line per finding, then the sum; YAML that is no manifest is named, so that nothing is skipped in silence."""
    lines = [str(finding) for finding in report.findings]
    if report.others:
        lines.append(f"no manifests, only read as YAML: {_listed(report.others)}")
    counts = (
        _count(report.objects, "manifest"),
        _count(report.kustomizations, "kustomization"),
        _count(report.errors, "error"),
        _count(report.warnings, "warning"),
    )
    return "\n".join([*lines, ", ".join(counts)])


SHOWN_OTHERS = 6


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_OTHERS
    return ", ".join(names[:SHOWN_OTHERS]) + (f" and {more} more (-o json names them)" if more > 0 else "")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
