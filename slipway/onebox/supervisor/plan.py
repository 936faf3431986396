"""What must happen next, from what is wanted and what is known. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from slipway.onebox.supervisor.history import ALIVE, SATISFIED, Phase, Record
from slipway.onebox.supervisor.spec import ProcessSpec


@dataclass(frozen=True)
class Action:
    """One step with its reason; ``fail`` ends a process and counts as a failure of its own."""

    verb: Literal["start", "stop", "fail"]
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.verb} {self.name}   {self.reason}"


def plan(
    specs: Sequence[ProcessSpec], wanted: AbstractSet[str], records: Mapping[str, Record], *, now_s: float
) -> list[Action]:
    """Stops (dependents first), then starts (dependencies first); an empty list when nothing is to be done.

    ``records`` holds one record per spec. A stop waits until everything that depends on the process has ended, a
    start until everything wanted that it depends on is ready.
    """
    stops = [
        Action("stop", spec.name, "not wanted")
        for spec in reversed(specs)
        if spec.name not in wanted and _may_stop(spec, specs, wanted, records)
    ]
    swaps = [
        Action("stop", spec.name, "spec changed")
        for spec in reversed(specs)
        if spec.name in wanted and _differs(spec, records[spec.name])
    ]
    late = [
        Action("fail", spec.name, f"not ready within {spec.ready_within_s:g} s")
        for spec in specs
        if spec.name in wanted and _is_late(spec, records[spec.name], now_s)
    ]
    starts = [
        Action("start", spec.name, _start_reason(records[spec.name]))
        for spec in specs
        if spec.name in wanted and _may_start(spec, wanted, records, now_s)
    ]
    return stops + swaps + late + starts


def next_wake_s(specs: Sequence[ProcessSpec], records: Mapping[str, Record]) -> float | None:
    """The next moment at which ``plan`` may answer differently without any event; None when there is none."""
    moments = [record.retry_at_s for record in records.values() if record.phase is Phase.BACKOFF]
    moments += [
        records[spec.name].started_s + spec.ready_within_s
        for spec in specs
        if records[spec.name].phase is Phase.STARTING
    ]
    return min(moments, default=None)


def _may_stop(
    spec: ProcessSpec, specs: Sequence[ProcessSpec], wanted: AbstractSet[str], records: Mapping[str, Record]
) -> bool:
    if records[spec.name].phase in (Phase.STOPPED, Phase.STOPPING):
        return False
    return not any(records[other.name].phase in ALIVE for other in _dependents(spec, specs) if other.name not in wanted)


def _dependents(spec: ProcessSpec, specs: Sequence[ProcessSpec]) -> list[ProcessSpec]:
    """Everything that needs it, also through others: a server often needs another through a task that is done."""
    found, names = [], {spec.name}
    for other in specs:  # in start order, so that one pass reaches them all
        if names & set(other.after):
            found.append(other)
            names.add(other.name)
    return found


def _may_start(spec: ProcessSpec, wanted: AbstractSet[str], records: Mapping[str, Record], now_s: float) -> bool:
    record = records[spec.name]
    is_due = record.phase is Phase.STOPPED or (record.phase is Phase.BACKOFF and record.retry_at_s <= now_s)
    return is_due and all(records[name].phase in SATISFIED for name in spec.after if name in wanted)


def _differs(spec: ProcessSpec, record: Record) -> bool:
    return record.phase in (Phase.STARTING, Phase.READY, Phase.DONE) and record.fingerprint != spec.fingerprint


def _is_late(spec: ProcessSpec, record: Record, now_s: float) -> bool:
    return record.phase is Phase.STARTING and now_s >= record.started_s + spec.ready_within_s


def _start_reason(record: Record) -> str:
    return f"{record.problem}, attempt {record.failures + 1}" if record.failures else "missing"
