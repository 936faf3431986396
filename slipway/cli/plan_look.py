"""Asks what `slipway plan` needs: the API's dry run, the present objects, and the versions that the registry says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp

from slipway.cli.apply import explained_absence
from slipway.cli.check_mesh import mesh_problems
from slipway.cli.check_world import World
from slipway.cli.plan_effects import (
    Model,
    ObjectPlan,
    Restart,
    as_writes,
    field_changes,
    restart,
    shares,
    writes,
)
from slipway.cli.plan_images import unbuilt
from slipway.contract.learning import learning_apart
from slipway.contract.sdep import SeldonDeployment
from slipway.contract.without_effect import without_effect
from slipway.controller.alias_watch import AliasWatch
from slipway.controller.autoscaling import refused_autoscaling
from slipway.controller.facts import Facts
from slipway.controller.follow import Follow
from slipway.controller.meta import MANAGER as CONTROLLER
from slipway.controller.models import Reference, Resolved, resolve_models
from slipway.controller.plan import ObjectKey, Step
from slipway.controller.reconcile import owned_kinds
from slipway.controller.settings import Settings
from slipway.controller.traffic import known_buckets, refused_traffic
from slipway.kube.client import Kube
from slipway.kube.discovery import Served, discover, kind_of_manifest
from slipway.kube.errors import ApiError, Forbidden, NotFound
from slipway.kube.kinds import POD, SELDON_DEPLOYMENT, Kind
from slipway.onebox.images.store import Store
from slipway.registry import (
    Pointer,
    RegistryAddress,
    RegistryError,
    RegistryUnavailable,
    ResolvedModel,
    read_aliases,
    resolve,
)

Object = dict[str, Any]
MANAGER = "slipway"


@dataclass(frozen=True)
class Planner:
    """``namespace``: where objects without one would go. ``settings``: of the controller.

    ``images``: those of the machine; None where others run the Pods, or where they are not to be seen from here.
    """

    kube: Kube
    registry: RegistryAddress | None
    session: aiohttp.ClientSession
    namespace: str
    settings: Settings = field(default_factory=Settings)
    images: Store | None = None

    async def plan(self, objects: Sequence[Object]) -> list[ObjectPlan]:
        """What an apply of ``objects``, in their order, would do; nothing is stored.

        Raises:
            ApiError: the API would refuse one of them.
            Failure: the namespace of one of them is not there, and does not come along.
        """
        served = await discover(self.kube)
        new_namespaces = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
        plans = [await self._plan_one(obj, served, new_namespaces) for obj in objects]
        said = self._said_by_the_mesh(objects) if self.settings.has_own_mesh else {}
        return [replace(one, warnings=(*one.warnings, *said.get(index, ()))) for index, one in enumerate(plans)]

    def _said_by_the_mesh(self, objects: Sequence[Object]) -> dict[int, list[str]]:
        """By place in ``objects``: what nobody would carry out. What else is there already is not looked at."""
        placed = [{**obj, "metadata": {"namespace": self.namespace, **obj["metadata"]}} for obj in objects]
        places = {id(obj): index for index, obj in enumerate(placed)}
        found: dict[int, list[str]] = {}
        for obj, problem in mesh_problems(placed, World()):
            if problem.is_error:
                found.setdefault(places[id(obj)], []).append(f"{problem.field} {problem.message}".lstrip())
        return found

    async def _plan_one(self, obj: Object, served: Sequence[Served], new_namespaces: set[str]) -> ObjectPlan:
        kind = kind_of_manifest(served, obj)
        place = (obj["metadata"].get("namespace") or self.namespace) if kind.namespaced else ""
        before = await self._present(kind, obj["metadata"]["name"], place)
        try:
            after = await self.kube.apply(obj, kind=kind, namespace=place or None, field_manager=MANAGER, dry_run=True)
        except NotFound as exc:
            if place not in new_namespaces:
                raise explained_absence(exc, obj) from exc
            after = {**obj, "metadata": {**obj["metadata"], "namespace": place}}
        base = replace(_base(obj["kind"], place, before, after), warnings=self._unbuilt([after]))
        if kind.kind == SELDON_DEPLOYMENT.kind:
            return await self._seldon_deployment(base, before, after)
        if kind.kind == "Deployment" and base.outcome == "changed":
            return replace(base, restarts=tuple(filter(None, [await self._restart(base, before, after)])))
        return base

    def _unbuilt(self, objects: Sequence[Object]) -> tuple[str, ...]:
        return tuple(unbuilt(objects, self.images)) if self.images else ()

    async def _present(self, kind: Kind, name: str, namespace: str) -> Object | None:
        try:
            return await self.kube.get(kind, name, namespace=namespace or None)
        except NotFound:
            return None

    async def _restart(self, base: ObjectPlan, before: Object | None, after: Object) -> Restart | None:
        return restart(base.name, before, after, await self._pods(base.namespace))

    async def _pods(self, namespace: str) -> list[Object]:
        return list((await self.kube.list(POD, namespace=namespace)).items)

    async def _seldon_deployment(self, base: ObjectPlan, before: Object | None, after: Object) -> ObjectPlan:
        sdep = SeldonDeployment.from_json(after)
        old = (before or {}).get("status") or {}
        owned, unseen = await self._owned(sdep) if before else ({}, [])
        refused = (*refused_autoscaling(sdep, self.settings), *refused_traffic(sdep, self.settings))
        warnings = [*without_effect(after), *learning_apart(after), *(str(cause.message) for cause in refused)]
        warnings += [f"you may not list {kind.plural}: what would change of them is not known" for kind in unseen]
        traffic = shares(SeldonDeployment.from_json(before) if before else None, sdep)
        base = replace(base, traffic=traffic, warnings=tuple(warnings))
        try:
            facts, resolved = await self._facts(sdep, after, owned)
        except RegistryError as error:
            return replace(base, warnings=(*base.warnings, f"which version would run is not known: {error}"))
        steps, held = writes(sdep, facts, owned, unseen=[kind.kind for kind in unseen])
        pods = await self._pods(base.namespace) if owned else []
        return replace(
            base,
            warnings=(
                *base.warnings,
                *[text async for text in self._refused(steps)],
                *self._unbuilt([step.object for step in steps if step.object["kind"] == "Deployment"]),
            ),
            writes=as_writes(steps, held),
            restarts=tuple(_restarts(steps, owned, pods)),
            models=tuple(_models(resolved, old)),
        )

    async def _refused(self, steps: Sequence[Step]) -> AsyncIterator[str]:
        """What the API would refuse of the controller's writes; of what this user may not write, nothing is known."""
        for step in steps:
            meta = {key: value for key, value in step.object["metadata"].items() if key != "ownerReferences"}
            try:  # without the owner, which may have no uid yet
                await self.kube.apply({**step.object, "metadata": meta}, field_manager=CONTROLLER, dry_run=True)
            except (NotFound, Forbidden):  # the namespace comes along with it
                continue
            except ApiError as error:
                yield f"the API would refuse {step.object['kind']} {meta['name']}: {error}"

    async def _owned(self, sdep: SeldonDeployment) -> tuple[dict[ObjectKey, Object], list[Kind]]:
        """What belongs to a SeldonDeployment, and the kinds of which this user may not know."""
        found: dict[ObjectKey, Object] = {}
        unseen: list[Kind] = []
        for kind in owned_kinds(self.settings):
            try:
                items = (await self.kube.list(kind, namespace=sdep.namespace)).items
            except Forbidden:
                unseen.append(kind)
                continue
            for obj in items:
                owners = obj["metadata"].get("ownerReferences") or ()
                if any(owner.get("uid") == sdep.uid for owner in owners):
                    found[kind.kind, obj["metadata"]["name"]] = {
                        "apiVersion": kind.api_version,
                        "kind": kind.kind,
                        **obj,
                    }
        return found, unseen

    async def _facts(
        self, sdep: SeldonDeployment, obj: Object, owned: Mapping[ObjectKey, Object]
    ) -> tuple[Facts, Resolved]:
        """As a look of the controller would find them."""
        key = (sdep.namespace, sdep.name)
        watch = AliasWatch(self._read_aliases, lambda: {key: obj}, self.settings.follow_interval_s)
        await watch.look()
        old = obj.get("status") or {}
        follow = Follow.begin(sdep, old, owned, now=datetime.now(UTC))
        known = partial(follow.known, old.get("models") or (), watch)
        resolved = await resolve_models(sdep, known, self._resolve)
        follow = follow.advanced(resolved, watch)
        begin = Facts(self.settings, resolved.models, buckets=known_buckets(owned, sdep))
        return follow.facts(begin, owned), resolved

    async def _resolve(self, wanted: Reference) -> ResolvedModel:
        if self.registry is None:
            raise RegistryUnavailable(f"{wanted.uri}: no registry is known: MLFLOW_TRACKING_URI names one")
        return await resolve(wanted.uri, registry=self.registry, session=self.session)

    async def _read_aliases(self, model: str) -> Mapping[str, Pointer]:
        if self.registry is None:
            raise RegistryUnavailable(f"models:/{model}: no registry is known: MLFLOW_TRACKING_URI names one")
        return await read_aliases(model, registry=self.registry, session=self.session)


def _base(kind: str, namespace: str, before: Object | None, after: Object) -> ObjectPlan:
    name = after["metadata"]["name"]
    if before is None:
        return ObjectPlan(kind, namespace, name, "created")
    fields = field_changes(before, after, is_secret=kind == "Secret")
    return ObjectPlan(kind, namespace, name, "changed" if fields else "unchanged", fields)


def _restarts(steps: Sequence[Step], owned: Mapping[ObjectKey, Object], pods: Sequence[Object]) -> list[Restart]:
    found = [
        restart(name, owned.get(("Deployment", name)), step.object, pods)
        for step in steps
        if step.object["kind"] == "Deployment" and (name := step.object["metadata"]["name"])
    ]
    return [item for item in found if item is not None]


def _models(resolved: Resolved, old: Mapping[str, Any]) -> list[Model]:
    before = {
        (item["predictor"], item["node"]): f"{item['name']}/{item['version']}" for item in old.get("models") or ()
    }
    return [
        Model(
            *wanted.key,
            wanted.uri,
            f"{entry['name']}/{entry['version']}",
            entry.get("digest") or "",
            before.get(wanted.key, ""),
        )
        for wanted, entry in resolved.pairs
    ]
