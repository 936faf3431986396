"""Brings our definition to an API server, and leaves another's alone unless told otherwise."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

from slipway.contract.controller_id import NO_ID
from slipway.crd.adoption import (
    Affected,
    Differences,
    affected,
    differences,
    helm_release,
    is_current,
    is_newer,
    is_ours,
)
from slipway.crd.definition import NAME, definition
from slipway.kube.client import Kube
from slipway.kube.errors import AlreadyExists, Conflict, NotFound, Temporary, Unavailable
from slipway.kube.kinds import CUSTOM_RESOURCE_DEFINITION, SELDON_DEPLOYMENT, Kind

MANAGER = "slipway-crd"
WRITES = 5
"""Tries where somebody else writes the definition at the same moment: another replica, or an operator's."""
ESTABLISHED_WITHIN_S = 30.0
PAUSE_S = 0.2
Object = dict[str, Any]
Verdict = Literal["created", "updated", "unchanged", "adopted", "left", "newer"]


@dataclass(frozen=True)
class Look:
    """What is there, and what ours would mean for it. ``theirs`` stands where the definition is another's."""

    found: Object | None
    theirs: Differences | None = None
    objects: tuple[Affected, ...] = ()
    release: str = ""
    """The Helm release, ``namespace/name``, that the definition came with."""

    @property
    def verdict(self) -> Verdict:
        """What to do without ``adopt``."""
        if self.found is None:
            return "created"
        if self.theirs is not None:
            return "left"
        if is_newer(self.found):
            return "newer"
        return "unchanged" if is_current(self.found) else "updated"


@dataclass(frozen=True)
class Outcome:
    verdict: Verdict
    look: Look = field(repr=False)


async def look(kube: Kube, *, controller_id: str = NO_ID) -> Look:
    """Nothing is written. ``controller_id``: whose objects are held to all rules."""
    try:
        found = await kube.get(CUSTOM_RESOURCE_DEFINITION, NAME)
    except NotFound:
        return Look(None)
    if is_ours(found):
        return Look(found)
    objects = await _objects(kube, found)
    changed = tuple(affected(objects, controller_id=controller_id))
    return Look(found, differences(found), changed, helm_release(found))


async def install(kube: Kube, seen: Look, *, adopt: bool = False) -> Outcome:
    """Make or bring up to date what ``seen`` found, and wait until it is served; another's only with ``adopt``.

    What a later release wrote stays, with ``adopt`` too.

    Raises:
        Conflict: it changed since it was seen in another way than by such an install: look again.
        Unavailable: the API server does not serve it.
    """
    for _ in range(WRITES):
        verdict: Verdict = "adopted" if seen.verdict == "left" and adopt else seen.verdict
        try:
            if seen.found is None:
                await kube.create(definition(), kind=CUSTOM_RESOURCE_DEFINITION, field_manager=MANAGER)
            elif verdict in ("updated", "adopted"):
                await kube.replace(_merged(seen.found), kind=CUSTOM_RESOURCE_DEFINITION, field_manager=MANAGER)
        except (AlreadyExists, Conflict):
            again = await look(kube)
            if adopt and again.verdict == "left" and again.theirs != seen.theirs:
                raise  # what would change was told of another definition
            seen = again
            continue
        if verdict != "left":
            await _wait_served(kube)
        return Outcome(verdict, seen)
    raise Unavailable(f"{NAME}: changed {WRITES} times while it was being written: somebody else writes it")


def _merged(found: Object) -> Object:
    """Ours, with what others noted at the object; ``resourceVersion`` says which state is replaced."""
    ours, metadata = definition(), found["metadata"]
    kept = {
        key: metadata[key] for key in ("uid", "resourceVersion", "finalizers", "ownerReferences") if key in metadata
    }
    for key in ("labels", "annotations"):
        kept[key] = {**(metadata.get(key) or {}), **ours["metadata"][key]}
    return {**ours, "metadata": {"name": NAME, **kept}}


async def _objects(kube: Kube, crd: Object) -> tuple[Object, ...]:
    """All SeldonDeployments, in the version that is stored."""
    version = next(each["name"] for each in crd["spec"]["versions"] if each.get("storage"))
    kind = Kind(SELDON_DEPLOYMENT.group, version, SELDON_DEPLOYMENT.plural, SELDON_DEPLOYMENT.kind)
    return (await kube.list(kind)).items


async def _wait_served(kube: Kube) -> None:
    """An API server answers 404 or 429 for the first moments of a new kind (recorded: reference/kube-api, 01-4)."""
    try:
        async with asyncio.timeout(ESTABLISHED_WITHIN_S):
            while True:
                try:
                    await kube.request("GET", SELDON_DEPLOYMENT.path(), query={"limit": "1"})
                except (NotFound, Temporary):
                    await asyncio.sleep(PAUSE_S)
                else:
                    return
    except TimeoutError as exc:
        raise Unavailable(f"{NAME}: not served {ESTABLISHED_WITHIN_S:.0f} s after it was written") from exc
