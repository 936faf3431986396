"""The SeldonDeployments that there are: which of them do not serve, and what their status says of it."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.doctor.check import Check, Said
from slipway.doctor.checks.workloads import place_of
from slipway.doctor.facts import Facts, Object
from slipway.doctor.question import OWN, Question
from slipway.kube.kinds import SELDON_DEPLOYMENT

DEPLOYMENTS = Question(SELDON_DEPLOYMENT, OWN)
AVAILABLE = "Available"
MAX_SHOWN = 10
"""One line each; the others are counted."""


def deployments(facts: Facts) -> Iterable[Said]:
    found = facts.objects(DEPLOYMENTS)
    troubled = [obj for obj in found if _state(obj) != AVAILABLE]
    for obj in troubled[:MAX_SHOWN]:
        meta = obj["metadata"]
        repair = f"slipway describe sdep {meta['name']} -n {meta['namespace']}"
        text = str((obj.get("status") or {}).get("description") or "")
        what = f"{_state(obj) or 'no controller has looked at it yet'}{f': {text}' if text else ''}"
        if _state(obj) == "Failed":
            yield "fail", place_of(obj), what, repair
        else:
            yield "warn", place_of(obj), what, repair
    if len(troubled) > MAX_SHOWN:
        yield "warn", facts.namespace, f"{len(troubled) - MAX_SHOWN} more are not {AVAILABLE}", "slipway get sdep"
    if found and not troubled:
        yield "ok", facts.namespace, f"all {len(found)} SeldonDeployments are {AVAILABLE}"


def _state(obj: Object) -> str:
    return str((obj.get("status") or {}).get("state") or "")


CHECKS = (Check("deployments", deployments, (DEPLOYMENTS,)),)
