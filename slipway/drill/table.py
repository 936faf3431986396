"""Rows → a table for people and objects for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from slipway.drill.verdict import Row

HEAD = (
    "DRILL",
    "ACTS",
    "RATE/S",
    "SENT",
    "ANSWERED",
    "REFUSED",
    "IN MS",
    "LOST",
    "WRONG",
    "P50 MS",
    "P99 MS",
    "GAP S",
    "BACK S",
    "GEN CPU",
)


def render(rows: Sequence[Row]) -> str:
    """A line each, and below it what it breaks."""
    lines = [HEAD, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    text = []
    for index, line in enumerate(lines):
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        text.append("  ".join(cells).rstrip())
        if index:
            row = rows[index - 1]
            text += [f"  {note}" for note in row.notes]
            text += [f"  broken: {problem}" for problem in row.problems]
            text += [f"  {count} x {said}" for said, count in row.losses]
    return "\n".join(text)


def as_object(rows: Sequence[Row], **facts: Any) -> dict[str, Any]:
    """``facts``: of the run. What never came back is null."""
    return {**facts, "kept": all(row.is_kept for row in rows), "rows": [_object(row) for row in rows]}


def _object(row: Row) -> dict[str, Any]:
    values = {**asdict(row), "is_kept": row.is_kept}
    return {
        _camel(name): (None if value == math.inf else round(value, 4)) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _cells(row: Row) -> tuple[str, ...]:
    name = row.drill + (f" (no {', '.join(row.without)})" if row.without else "")
    refused = (row.refused, f"{row.refused_p99_ms:.0f}" if row.refused else "-")
    counts = (row.sent, row.answered, *refused, row.lost, row.wrong)
    times = (f"{row.p50_ms:.0f}", f"{row.p99_ms:.0f}", f"{row.gap_s:.2f}", _seconds(row.recovery_s))
    return (name, str(row.acts), f"{row.rate:.1f}", *map(str, counts), *times, f"{row.generator_cpu:.0%}")


def _seconds(value: float) -> str:
    return "never" if value == math.inf else f"{value:.2f}"
