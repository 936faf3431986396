"""Tells whoever declares Pods what of their template is not carried out here: once, however many Pods are made of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slipway.kube.kinds import DEPLOYMENT, JOB, REPLICA_SET
from slipway.kube.malformed import MALFORMED
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.spec import Object
from slipway.onebox.runner.unhonoured import unhonoured_fields
from slipway.onebox.runner.workload_steps import controller_of

REASON = "NotHonoured"
TEMPLATED = (DEPLOYMENT, REPLICA_SET, JOB)
"""Kinds with a template of Pods."""
UNREAD = object()
"""No generation of any object."""
_KINDS = frozenset(kind.kind for kind in TEMPLATED)


def is_told_of_itself(pod: Object) -> bool:
    """Whether nobody else is told what of this Pod is not carried out: it is of no template that the runner follows."""
    owner = controller_of(pod)
    return owner is None or owner.get("kind") not in _KINDS


def sentence(fields: Iterable[str]) -> str:
    return f"not carried out on this machine: {', '.join(fields)}"


class NotHonoured:
    """``look`` after any change."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._known: dict[str, tuple[Any, list[str]]] = {}
        """By uid, of what is there: the generation that was read, and what was told of it."""

    def look(self, owners: Iterable[Object]) -> None:
        """``owners`` are all objects of TEMPLATED."""
        before, self._known = self._known, {}
        for owner in owners:
            meta = owner["metadata"]
            if (above := controller_of(owner)) is not None and above.get("kind") in _KINDS:
                continue  # its template is the one above's
            generation, told = before.get(meta["uid"], (UNREAD, []))
            fields = told if generation == meta.get("generation") else _fields_of(owner)
            self._known[meta["uid"]] = (meta.get("generation"), fields)
            if fields != told:
                self._tell(owner, above, fields)

    def _tell(self, owner: Object, above: Object | None, fields: list[str]) -> None:
        """Who wrote a Deployment's template is who controls it: a SeldonDeployment."""
        if not fields:
            return
        subject = owner
        if above is not None:
            place = {"namespace": owner["metadata"]["namespace"], "name": above["name"], "uid": above["uid"]}
            subject = {"apiVersion": above["apiVersion"], "kind": above["kind"], "metadata": place}
        named = f"{owner['kind']} {owner['metadata']['name']}: {sentence(fields)}"
        self._events.record(subject, REASON, named, is_warning=True)


def _fields_of(owner: Object) -> list[str]:
    """None of a template that cannot be read: its Pods say what is wrong with it."""
    try:
        return unhonoured_fields(owner["spec"]["template"])
    except MALFORMED:
        return []
