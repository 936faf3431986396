"""Who wrote which field: ``managedFields`` after an update and after a server-side apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slipway.kube.fields_v1 import FieldSet, dotted, from_fields_v1, to_fields_v1, with_parents
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.fields import NOT_OWNED, applied_set, compare, merge, remove

Schema = Mapping[str, Any]
Object = dict[str, Any]
MAX_UPDATE_MANAGERS = 10
"""Kubernetes' limit: the oldest Update managers beyond it are merged into one."""


@dataclass(frozen=True)
class Writer:
    """Who is writing: the identity of a ``managedFields`` entry."""

    manager: str
    operation: str  # Apply or Update
    api_version: str
    subresource: str = ""


@dataclass(frozen=True)
class Entry:
    writer: Writer
    fields: FieldSet
    time: str | None


def load_entries(obj: Mapping[str, Any]) -> list[Entry]:
    """The entries of an object; a list that is no list of entries counts as cleared."""
    entries = []
    for raw in (obj.get("metadata") or {}).get("managedFields") or ():
        if not isinstance(raw, dict) or not raw.get("operation"):
            continue
        writer = Writer(
            str(raw.get("manager", "")),
            str(raw["operation"]),
            str(raw.get("apiVersion", "")),
            str(raw.get("subresource", "")),
        )
        entries.append(Entry(writer, from_fields_v1(raw.get("fieldsV1")), raw.get("time")))
    return entries


def render_entries(entries: Sequence[Entry]) -> list[Object]:
    """Apply before Update, then by time, manager, version and sub-resource."""
    rows = []
    ordered = sorted(
        (entry for entry in entries if entry.fields),
        key=lambda e: (
            e.writer.operation != "Apply",
            e.time or "",
            e.writer.manager,
            e.writer.api_version,
            e.writer.subresource,
        ),
    )
    for entry in ordered:
        row: Object = {
            "manager": entry.writer.manager,
            "operation": entry.writer.operation,
            "apiVersion": entry.writer.api_version,
        }
        if entry.time:
            row["time"] = entry.time
        row |= {"fieldsType": "FieldsV1", "fieldsV1": to_fields_v1(entry.fields)}
        if entry.writer.subresource:
            row["subresource"] = entry.writer.subresource
        rows.append(row)
    return rows


def after_update(
    entries: Sequence[Entry], *, schema: Schema, old: Object, new: Object, writer: Writer, ignored: FieldSet, now: str
) -> list[Entry]:
    """The entries when ``writer`` replaced ``old`` by ``new``; ``ignored`` are fields that this path cannot write."""
    changed, removed = compare(schema, old, new)
    changed, removed = _without(changed, ignored), _without(removed, ignored)
    own = next((entry for entry in entries if entry.writer == writer), Entry(writer, frozenset(), None))
    fields = (own.fields | changed) - removed
    others = [replace(entry, fields=entry.fields - changed - removed) for entry in entries if entry.writer != writer]
    time = now if fields != own.fields or changed else own.time
    if writer.subresource == "scale":
        time = None
    return [*others, Entry(writer, fields, time)]


def _without(fields: FieldSet, ignored: FieldSet) -> FieldSet:
    """``fields`` that do not lie below one of ``ignored``."""
    return frozenset(path for path in fields if not any(path[: len(top)] == top for top in ignored))


@dataclass(frozen=True)
class Applied:
    """The outcome of an apply: the merged object, and the entries."""

    obj: Object
    entries: list[Entry]


def apply_configuration(
    entries: Sequence[Entry],
    *,
    schema: Schema,
    live: Object,
    config: Object,
    writer: Writer,
    force: bool,
    ignored: FieldSet,
    now: str,
) -> Applied:
    """Server-side apply. Raises Refused 409 naming each field and its manager; DuplicateKey for a bad list."""
    claimed = _without(applied_set(schema, config) - NOT_OWNED, ignored)
    last = next((entry for entry in entries if entry.writer == writer), Entry(writer, frozenset(), None))
    others = [entry for entry in entries if entry.writer != writer]
    merged = merge(schema, live, config)
    changed, _ = compare(schema, live, merged)
    taken = changed & claimed
    conflicts = [(entry, entry.fields & taken) for entry in others if entry.fields & taken]
    if conflicts and not force:
        raise conflict_of(conflicts)
    others = [replace(entry, fields=entry.fields - taken) for entry in others]
    still_owned = with_parents(claimed.union(*(entry.fields for entry in others)))
    dropped = with_parents(last.fields) - still_owned - NOT_OWNED
    pruned = remove(schema, merged, dropped)
    changed, removed = compare(schema, live, pruned)
    others = [replace(entry, fields=entry.fields - removed) for entry in others]
    time = now if changed or removed else last.time  # an apply that changes nothing gives a new owner no time
    return Applied(pruned, [*others, Entry(writer, claimed, time)])


def conflict_of(conflicts: Sequence[tuple[Entry, FieldSet]]) -> Refused:
    """The 409 of an apply: one cause per field, grouped by manager in the message."""
    rows = sorted(
        ((_name(entry), dotted(path)) for entry, paths in conflicts for path in paths), key=lambda row: (row[0], row[1])
    )
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": field} for who, field in rows
    ]
    if len(rows) == 1:
        message = f"Apply failed with 1 conflict: conflict with {rows[0][0]}: {rows[0][1]}"
    else:
        message = f"Apply failed with {len(rows)} conflicts: "
        groups = sorted({who for who, _ in rows})
        message += "\n".join(
            f"conflicts with {who}:\n" + "\n".join(f"- {field}" for owner, field in rows if owner == who)
            for who in groups
        )
    return Refused(409, message, reason="Conflict", details={"causes": causes})


def _name(entry: Entry) -> str:
    text = f'"{entry.writer.manager}"'
    if entry.writer.subresource:
        text += f' with subresource "{entry.writer.subresource}"'
    if entry.writer.operation == "Update":
        text += f" using {entry.writer.api_version}"
    return text


def limit_managers(entries: list[Entry]) -> list[Entry]:
    """At most MAX_UPDATE_MANAGERS Update entries of one version; the oldest become ``ancient-changes``."""
    updates = sorted((e for e in entries if e.writer.operation == "Update"), key=lambda e: e.time or "")
    surplus = updates[: max(0, len(updates) - MAX_UPDATE_MANAGERS)]
    if not surplus:
        return entries
    merged = frozenset().union(*(entry.fields for entry in surplus))
    ancient = Entry(replace(surplus[0].writer, manager="ancient-changes", subresource=""), merged, surplus[-1].time)
    return [entry for entry in entries if entry not in surplus] + [ancient]


def same_but_times(one: Object, other: Object) -> bool:
    """Equal, where the times of ``managedFields`` do not count."""
    return _without_times(one) == _without_times(other)


def _without_times(obj: Object) -> Object:
    meta = dict(obj["metadata"])
    entries = meta.pop("managedFields", [])
    times_off = sorted(
        str(sorted((key, str(value)) for key, value in entry.items() if key != "time")) for entry in entries
    )
    return {**obj, "metadata": meta, "entries": times_off}
