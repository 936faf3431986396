"""What an apply would change, and what the controller would make of it: values, and their lines of text. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from slipway.cli.objects import content
from slipway.contract.following import printable
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.meta import APPLIED
from slipway.controller.plan import ObjectKey, Step, changes, first_difference, key_of
from slipway.controller.pod_labels import TEMPLATE

Object = dict[str, Any]
Outcome = Literal["created", "changed", "unchanged"]
ABSENT = "none"
MAX_VALUE_CHARS = 60
SECRET_PARTS = ("data", "stringData")


@dataclass(frozen=True)
class FieldChange:
    """One field of a manifest; values are shortened texts."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}: {self.before} → {self.after}"


@dataclass(frozen=True)
class Write:
    """One write of the controller. ``waits``: it is held until what is new can take requests."""

    verb: str
    kind: str
    name: str
    reason: str
    waits: bool = False

    def __str__(self) -> str:
        waits = " (when the new is ready)" if self.waits else ""
        return f"{self.verb.lower()} {self.kind} {self.name}   {self.reason}{waits}"


@dataclass(frozen=True)
class Restart:
    """A Deployment whose Pod template changes: its Pods are replaced by a rolling update. ``pods``: those that run."""

    deployment: str
    pods: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"restart {self.deployment} ({', '.join(self.pods) or 'no Pods yet'})   {self.reason}"


@dataclass(frozen=True)
class Share:
    """Percent of a predictor; None where there is no such predictor. A shadow's percent is of copies."""

    predictor: str
    before: int | None
    after: int | None
    is_shadow: bool = False

    def __str__(self) -> str:
        name = f"{self.predictor} (shadow)" if self.is_shadow else self.predictor
        texts = [ABSENT if percent is None else f"{percent} %" for percent in (self.before, self.after)]
        return f"{name} {texts[0]}" if self.before == self.after else f"{name} {texts[0]} → {texts[1]}"


@dataclass(frozen=True)
class Model:
    """Which version a node would run. ``before`` is what the status says it runs; empty for none."""

    predictor: str
    node: str
    uri: str
    version: str
    digest: str
    before: str = ""

    def __str__(self) -> str:
        place = f"{self.predictor}/{self.node}: {self.uri} is {self.version} {self.digest}".rstrip()
        return f"{place}, was {self.before}" if self.before and self.before != self.version else place


@dataclass(frozen=True)
class ObjectPlan:
    """One object of the manifests; the last four are of SeldonDeployments, ``restarts`` of Deployments too."""

    kind: str
    namespace: str
    name: str
    outcome: Outcome
    fields: tuple[FieldChange, ...] = ()
    writes: tuple[Write, ...] = ()
    restarts: tuple[Restart, ...] = ()
    traffic: tuple[Share, ...] = ()
    models: tuple[Model, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.outcome == "unchanged" and not self.writes

    def as_json(self) -> Object:
        return asdict(self)


def field_changes(before: Any, after: Any, *, is_secret: bool = False) -> tuple[FieldChange, ...]:
    """Fields in which two forms of an object differ, apart from what the API writes itself; no values of Secrets."""
    found = (change for change in _differences(content(before), content(after), "") if change.path)
    if not is_secret:
        return tuple(found)
    return tuple(FieldChange(item.path, "…", "…") if item.path.startswith(SECRET_PARTS) else item for item in found)


def _differences(before: Any, after: Any, path: str) -> Iterator[FieldChange]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            yield from _differences(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(before, list) and isinstance(after, list):
        longest = max(len(before), len(after))
        for index in range(longest):
            old, new = (items[index] if index < len(items) else None for items in (before, after))
            yield from _differences(old, new, f"{path}[{index}]")
    elif before != after:
        yield FieldChange(path, _short(before), _short(after))


def _short(value: Any) -> str:
    if value is None:
        return ABSENT
    text = value.get("name", "{…}") if isinstance(value, Mapping) else "[…]" if isinstance(value, list) else str(value)
    text = printable(" ".join(str(text).split()))
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"


def writes(
    sdep: SeldonDeployment, facts: Facts, owned: Mapping[ObjectKey, Object], *, unseen: Collection[str] = ()
) -> tuple[list[Step], list[Step]]:
    """(the controller's writes in their order, what it would delete once all is ready); ``unseen`` kinds are left out."""
    wanted = [obj for obj in desired(sdep, facts) if obj["kind"] not in unseen]
    now, held = changes(wanted, owned)
    left_over = sorted(owned.keys() - {key_of(obj) for obj in wanted})
    return [*now, *held], [Step("Delete", owned[key], "not declared") for key in left_over]


def as_writes(steps: Sequence[Step], held: Sequence[Step]) -> tuple[Write, ...]:
    """``held`` are deletions, which wait."""
    rows = [*((step, False) for step in steps), *((step, True) for step in held)]
    return tuple(
        Write(step.verb, step.object["kind"], step.object["metadata"]["name"], _reason(step), waits)
        for step, waits in rows
    )


def _reason(step: Step) -> str:
    return "a field is no longer given" if APPLIED in step.reason else step.reason


def restart(deployment: str, before: Object | None, after: Object, pods: Sequence[Object]) -> Restart | None:
    """Of a Deployment in two forms; None where its Pods stay. ``pods``: of its namespace.

    The controller's Deployments carry a digest of their Pod template, of others both forms are whole.
    """
    if before is None:
        return None
    old, new = before["spec"]["template"], after["spec"]["template"]
    where = first_difference(new, old, "spec.template")
    notes, old_notes = (obj["metadata"].get("annotations") or {} for obj in (after, before))
    is_reduced = notes[TEMPLATE] != old_notes.get(TEMPLATE) if TEMPLATE in notes else old != new
    if where is None and not is_reduced:
        return None
    selector = (before["spec"].get("selector") or {}).get("matchLabels") or {}
    names = [
        pod["metadata"]["name"]
        for pod in pods
        if selector and selector.items() <= (pod["metadata"].get("labels") or {}).items()
    ]
    reason = f"{where} differs" if where else "a field of spec.template is no longer given"
    return Restart(deployment, tuple(sorted(names)), reason)


def shares(before: SeldonDeployment | None, after: SeldonDeployment) -> tuple[Share, ...]:
    """Declared percentages, in the order of the manifest; predictors that go come last."""
    old, new = _percent(before), _percent(after)
    shadows = {item.name for item in (*(before.predictors if before else ()), *after.predictors) if item.shadow}
    return tuple(Share(name, old.get(name), new.get(name), name in shadows) for name in {**new, **old})


def _percent(sdep: SeldonDeployment | None) -> dict[str, int]:
    """The only predictor gets all."""
    predictors: Sequence[PredictorSpec] = sdep.predictors if sdep else ()
    live = [item for item in predictors if not item.shadow]
    return {item.name: 100 if live == [item] else item.traffic for item in predictors}


def render_plan(plans: Sequence[ObjectPlan]) -> str:
    """Each object that changes with what follows from it, then the sum; models that stay are left out."""
    lines: list[str] = []
    for plan in plans:
        if plan.is_empty and not plan.warnings:
            continue
        lines.append(
            f"{plan.kind.lower()}/{plan.name} in {plan.namespace} would be {plan.outcome}"
            if plan.namespace
            else f"{plan.kind.lower()}/{plan.name} would be {plan.outcome}"
        )
        rows: list[object] = [
            *plan.fields,
            *plan.writes,
            *plan.restarts,
            *(f"model {item}" for item in plan.models if item.version != item.before),
        ]
        if plan.traffic:
            rows.append("traffic: " + ", ".join(map(str, plan.traffic)))
        lines += [f"  {printable(str(row))}" for row in (*rows, *(f"warning: {text}" for text in plan.warnings))]
    counts = [sum(plan.outcome == outcome for plan in plans) for outcome in ("created", "changed", "unchanged")]
    restarts = sum(len(item.pods) for plan in plans for item in plan.restarts)
    lines.append(f"{counts[0]} to create, {counts[1]} to change, {counts[2]} unchanged; Pods that restart: {restarts}")
    return "\n".join(lines)
