"""Answers of the API as text in columns: Tables, and descriptions with conditions and events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from slipway.contract.following import printable
from slipway.kube.kinds import Kind

Object = dict[str, Any]
SECONDS = len("2026-01-01T00:00:00")


def render_table(table: Object, *, wide: bool, with_namespace: bool) -> str:
    """A Table as aligned columns; ``No objects found.`` where it has no rows."""
    rows = table.get("rows") or []
    if not rows:
        return "No objects found."
    columns = table.get("columnDefinitions") or []
    chosen = [index for index, column in enumerate(columns) if wide or not column.get("priority")]
    lines = [[columns[index]["name"].upper() for index in chosen]]
    lines += [["" if row["cells"][i] is None else str(row["cells"][i]) for i in chosen] for row in rows]
    if with_namespace:
        lines[0].insert(0, "NAMESPACE")
        for line, row in zip(lines[1:], rows, strict=True):
            line.insert(0, row["object"]["metadata"].get("namespace", ""))
    return render_columns(lines)


def render_columns(lines: Sequence[Sequence[str]]) -> str:
    """Aligned; what drives a terminal, as the last words of somebody's container may, is left out."""
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def render_description(obj: Object, kind: Kind, events: Sequence[Object]) -> str:
    """The object's parts under headings: identity, spec, status, conditions, events."""
    meta, status = obj["metadata"], dict(obj.get("status") or {})
    conditions = status.pop("conditions", None) or []
    parts = [f"Name:        {meta['name']}"]
    if meta.get("namespace"):
        parts.append(f"Namespace:   {meta['namespace']}")
    parts.append(f"Kind:        {obj.get('apiVersion', kind.api_version)} {kind.kind}")
    for heading, field in (("Labels", "labels"), ("Annotations", "annotations")):
        pairs = [printable(f"{key}={value}") for key, value in sorted((meta.get(field) or {}).items())]
        parts.append(f"{heading + ':':<13}" + ("\n" + " " * 13).join(pairs or ["<none>"]))
    body = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    for heading, value in (*((key.capitalize(), value) for key, value in body.items()), ("Status", status)):
        if value:
            parts.append(f"{heading}:\n{_indented(yaml.safe_dump(value, sort_keys=False))}")
    if conditions:
        lines = [["TYPE", "STATUS", "REASON", "MESSAGE"]]
        lines += [[str(row.get(key, "")) for key in ("type", "status", "reason", "message")] for row in conditions]
        parts.append(f"Conditions:\n{_indented(render_columns(lines))}")
    parts.append(_render_events(events))
    return "\n".join(parts)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines())


def _last_seen(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _written(event: Object) -> tuple[str, int]:
    """By the second, and within one by the version: the API counts it up with each write."""
    version = str((event.get("metadata") or {}).get("resourceVersion") or "")
    return _last_seen(event)[:SECONDS], int(version) if version.isdecimal() else 0


def _render_events(events: Sequence[Object]) -> str:
    if not events:
        return "Events:      <none>"
    lines = [["LAST SEEN", "TYPE", "REASON", "COUNT", "MESSAGE"]]
    for event in sorted(events, key=_written):
        seen = _last_seen(event)
        count = str(event.get("count") or 1)
        lines.append(
            [seen, event.get("type", ""), event.get("reason", ""), count, str(event.get("message", "")).strip()]
        )
    return f"Events:\n{_indented(render_columns(lines))}"
