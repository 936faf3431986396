"""What the doctor says: findings with a level, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from slipway.contract.following import printable

Level = Literal["ok", "n/a", "unknown", "warn", "fail"]
LEVELS: tuple[Level, ...] = ("ok", "n/a", "unknown", "warn", "fail")
MAX_SHOWN_CHARS = 600
"""Of one text: what an API or a server said is part of some."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``where`` names the object, ``repair`` is the command or the edit that helps.

    ``n/a``: it does not apply here, and ``what`` says why; ``unknown``: it could not be looked at, and ``what`` says why.
    """

    level: Level
    check: str
    where: str
    what: str
    repair: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that was found at ``server``, in the order of the checks."""

    server: str
    findings: tuple[Finding, ...]

    def count(self, level: Level) -> int:
        return sum(item.level == level for item in self.findings)

    def as_json(self) -> dict[str, Any]:
        counts = {level: self.count(level) for level in LEVELS}
        return {"server": self.server, "counts": counts, "findings": [asdict(item) for item in self.findings]}


def render_report(report: Report) -> str:
    """One line per finding, its repair below it, then the sum."""
    lines = [f"{printable(report.server)}"]
    names = max((len(item.check) for item in report.findings), default=0)
    for item in report.findings:
        about = ": ".join(part for part in (item.where, item.what) if part)
        lines.append(f"  {item.level:<7}  {item.check:<{names}}  {_shown(about)}")
        if item.repair:
            lines.append(f"  {'':<7}  {'':<{names}}  → {_shown(item.repair)}")
    return "\n".join([*lines, _sum(report)])


def _shown(text: str) -> str:
    whole = " ".join(printable(text).split())
    return whole if len(whole) <= MAX_SHOWN_CHARS else f"{whole[:MAX_SHOWN_CHARS]}…"


WORDS: dict[Level, str] = {
    "ok": "in order",
    "n/a": "without meaning here",
    "unknown": "unknown",
    "warn": "to be considered",
    "fail": "to be fixed",
}


def _sum(report: Report) -> str:
    parts: Sequence[str] = [f"{report.count(level)} {WORDS[level]}" for level in LEVELS if report.count(level)]
    return ", ".join(parts) or "nothing was looked at"
