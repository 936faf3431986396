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
        yield "fail" if _state(obj) == "Failed" else "warn", place_of(obj), _what(obj), repair
    if len(troubled) > MAX_SHOWN:
        yield "warn", facts.namespace, f"{len(troubled) - MAX_SHOWN} more are not {AVAILABLE}", "slipway get sdep"
    if found and not troubled:
        yield "ok", facts.namespace, f"all {len(found)} SeldonDeployments are {AVAILABLE}"


def _what(obj: Object) -> str:
    status = obj.get("status") or {}
    if not _is_current(obj):
        seen, newest = status["observedGeneration"], obj["metadata"]["generation"]
        return f"no controller has looked at its generation {newest} yet; of generation {seen} it was {status.get('state')}"
    text = str(status.get("description") or "")
    return f"{_state(obj) or 'no controller has looked at it yet'}{f': {text}' if text else ''}"


def _state(obj: Object) -> str:
    """Of what is wanted now; empty where no controller has said it."""
    return str((obj.get("status") or {}).get("state") or "") if _is_current(obj) else ""


def _is_current(obj: Object) -> bool:
    """Whether the status is of the newest spec; one that names no generation is taken for it."""
    newest = int(obj["metadata"].get("generation", 0))
    return int((obj.get("status") or {}).get("observedGeneration", newest)) >= newest


CHECKS = (Check("deployments", deployments, (DEPLOYMENTS,)),)
