"""One look at one SeldonDeployment: resolve, plan, write, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from slipway.contract.admission import review
from slipway.contract.causes import Cause
from slipway.contract.controller_id import is_looked_after
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.alias_watch import AliasWatch
from slipway.controller.autoscaling import refused_autoscaling
from slipway.controller.desired import desired
from slipway.controller.drift import first_foreign, taken_over
from slipway.controller.events import record
from slipway.controller.facts import Facts
from slipway.controller.follow import Follow
from slipway.controller.meta import DEPLOYMENT_ID, MANAGER
from slipway.controller.models import LOOK_AGAIN_S, Reference, resolve_models
from slipway.controller.owners import NameTaken, check_free, is_owned_by
from slipway.controller.plan import ObjectKey, Step, actions, changes, fingerprint, first_difference, key_of
from slipway.controller.pod_labels import label_changes
from slipway.controller.queue import Key
from slipway.controller.report import Reports, light, now
from slipway.controller.resolver import PatientResolver, StillAsked
from slipway.controller.secrets import ModelSecret
from slipway.controller.settings import Settings
from slipway.controller.status import Observed, failed, status_of
from slipway.controller.traffic import known_buckets, refused_traffic, traffic
from slipway.controller.view import View
from slipway.controller.weights import ready_predictors
from slipway.kube.client import Kube
from slipway.kube.errors import ApiError, Conflict, Invalid, NotFound, Temporary
from slipway.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    DESTINATION_RULE,
    HORIZONTAL_POD_AUTOSCALER,
    NAMESPACE,
    POD,
    POD_DISRUPTION_BUDGET,
    SCALED_OBJECT,
    SELDON_DEPLOYMENT,
    SERVICE,
    VIRTUAL_SERVICE,
    Kind,
    kind_of,
)
from slipway.kube.reflector import Reflector
from slipway.registry import RegistryError, ResolvedModel

log = logging.getLogger(__name__)

OWNED_KINDS = (
    CONFIG_MAP,
    SERVICE,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    POD_DISRUPTION_BUDGET,
    VIRTUAL_SERVICE,
    DESTINATION_RULE,
)
NO_EVENT = frozenset({"ConfigMap"})  # the contract's events are about the others
Object = dict[str, Any]


def owned_kinds(settings: Settings) -> tuple[Kind, ...]:
    """ScaledObjects are asked for only where the API has them."""
    return (*OWNED_KINDS, SCALED_OBJECT) if settings.has_keda else OWNED_KINDS


@dataclass(frozen=True)
class Reconciler:
    """The effects around ``desired``, ``actions`` and ``status_of``."""

    kube: Kube
    deployments: View
    dependents: View
    namespaces: Reflector
    secret: ModelSecret
    settings: Settings
    watch: AliasWatch
    resolve: PatientResolver
    reports: Reports
    accepted: dict[Key, dict[ObjectKey, str]] = field(default_factory=dict)
    """Fingerprints of what the API made of applies that it did not take literally, by SeldonDeployment."""

    async def __call__(self, key: Key) -> float | None:
        """None when there is nothing left to do until something changes; else seconds to wait."""
        namespace, name = key
        obj = self.deployments.objects(SELDON_DEPLOYMENT, namespace).get(name)
        if obj is None or "deletionTimestamp" in obj["metadata"] or not self._is_ours(obj):
            self.accepted.pop(key, None)
            self.reports.forget(key)
            self.secret.forget(key)
            return None  # what it owned is collected by the API, or looked after by another controller
        old = obj.get("status") or {}
        if causes := self._review(obj):
            description = "; ".join(f"{cause.field}: {cause.message}" for cause in causes)
            await self.reports.write(obj, failed(light(obj), description, now=now(), old=old), reason="Invalid")
            return None
        sdep = SeldonDeployment.from_json(obj)
        try:
            return await self._bring_about(sdep, obj, old)
        except NameTaken as exc:
            await self.reports.write(obj, failed(sdep, str(exc), now=now(), old=old), reason="NameTaken")
            return LOOK_AGAIN_S
        except ApiError as exc:
            if isinstance(exc, Temporary | Conflict):
                raise
            await self.reports.write(
                obj, failed(sdep, f"the API refuses: {exc}", now=now(), old=old), reason="InternalError"
            )
            return LOOK_AGAIN_S

    def _is_ours(self, obj: Object) -> bool:
        """One machine has one controller, whatever a label says that is meant for a cluster.

        A namespace that has not been heard of yet may be another's; when it is, its objects are looked at again.
        """
        if self.settings.has_own_mesh:
            return True
        meta = obj["metadata"]
        namespace = self.namespaces.objects(NAMESPACE).get(("", meta["namespace"]))
        if namespace is None:
            return False
        labels = namespace["metadata"].get("labels") or {}
        return is_looked_after(self.settings.controller_id, meta.get("labels") or {}, labels)

    def _review(self, obj: Object) -> list[Cause]:
        causes = review(obj, predictor_servers=self.settings.predictor_servers)
        sdep = None if causes else SeldonDeployment.from_json(obj)
        return [*refused_autoscaling(sdep, self.settings), *refused_traffic(sdep, self.settings)] if sdep else causes

    async def _bring_about(self, sdep: SeldonDeployment, obj: Object, old: Object) -> float | None:
        await self._apply_traffic(sdep)
        follow = Follow.begin(sdep, old, self._owned(sdep), now=datetime.now(UTC))
        known = partial(follow.known, old.get("models") or (), self.watch)
        try:
            resolved = await resolve_models(sdep, known, partial(self._resolve, sdep))
        except RegistryError as error:
            return await self._go_on(sdep, obj, old, follow, error)
        follow = follow.advanced(resolved, self.watch)
        await self._announce(follow)
        begin = replace(self._facts(sdep), models=resolved.models)
        facts = follow.facts(begin, self._owned(sdep))
        secret_again_s = await self._apply(sdep, facts)
        follow = follow.settled(self._owned(sdep))
        await self._label_pods(sdep)
        observed = Observed(self._owned(sdep), self._pods(sdep))
        followers, models = follow.followers(old, self.watch), follow.models(resolved)
        status = status_of(sdep, facts, observed, models=models, now=now(), old=old, followers=followers)
        await self.reports.write(obj, status, reason="Updated")
        waits = [resolved.again_s, follow.next_look_s, secret_again_s]
        return min((wait for wait in waits if wait is not None), default=None)

    async def _go_on(
        self, sdep: SeldonDeployment, obj: Object, old: Object, follow: Follow, error: RegistryError
    ) -> float:
        """What should run is not known. What runs goes on as it is, and a rollback to what is warm waits for nothing."""
        await self._announce(follow)
        for step in follow.switches(self._owned(sdep), self.settings):
            await self._write(sdep, step)
        follow = follow.settled(self._owned(sdep))
        status = {**old, **follow.kept(old)}
        if not isinstance(error, StillAsked):
            status = failed(sdep, str(error), now=now(), old=status)
        await self.reports.write(obj, status, reason="ModelNotResolved")
        return error.retry_after_s or LOOK_AGAIN_S

    async def _announce(self, follow: Follow) -> None:
        """The plan of each move, before it is carried out."""
        for move in follow.moves:
            reason = "RolledBack" if move.how == "rollback" else "AliasMoved"
            log.info("%s/%s: %s", follow.sdep.namespace, follow.sdep.name, move)
            await record(self.kube, follow.sdep, reason, str(move), now=now())
        if follow.refused:
            await record(self.kube, follow.sdep, "RollbackRefused", follow.refused, now=now(), kind="Warning")

    async def _resolve(self, sdep: SeldonDeployment, wanted: Reference) -> ResolvedModel:
        return await self.resolve((sdep.uid, wanted), wanted.uri)

    async def _apply_traffic(self, sdep: SeldonDeployment) -> None:
        """Percentages wait for nothing, also not for a registry that a new version needs."""
        owned = self._owned(sdep)
        if ("VirtualService", sdep.name) not in owned:
            return
        whole = self.settings.defaulted(sdep)
        existing = [obj for obj in traffic(whole, self._facts(sdep)) if key_of(obj) in owned]
        steps, _ = changes(existing, owned, self.accepted.get((sdep.namespace, sdep.name)))
        for step in steps:
            await self._write(sdep, step)

    def _facts(self, sdep: SeldonDeployment) -> Facts:
        """What is known without asking the registry."""
        owned = self._owned(sdep)
        ready = None if self.settings.has_own_mesh else ready_predictors(sdep, owned, self._pods(sdep))
        return Facts(self.settings, buckets=known_buckets(owned, sdep), ready=ready)

    async def _apply(self, sdep: SeldonDeployment, facts: Facts) -> float | None:
        """Seconds until the model secret is to be looked after again, if it is."""
        accepted = self.accepted.get((sdep.namespace, sdep.name))
        steps = actions(desired(sdep, facts), self._owned(sdep), accepted, self._pods(sdep))
        adopted = await self._check_names(sdep, steps)
        again_s = await self.secret.ensure(sdep)
        for step in steps:
            await self._write(sdep, step, may_exist=step.verb == "Update" or key_of(step.object) in adopted)
        return again_s

    async def _check_names(self, sdep: SeldonDeployment, steps: Sequence[Step]) -> set[ObjectKey]:
        """Before anything is made: nothing of others is changed. What is there and is taken over; raises NameTaken."""
        adopted = set()
        for step in steps:
            if step.verb == "Create":
                kind, name = kind_of(step.object), step.object["metadata"]["name"]
                try:
                    found = await self.kube.get(kind, name, namespace=sdep.namespace)
                except NotFound:
                    continue
                check_free(found, kind.kind, sdep)
                adopted.add(key_of(step.object))
        return adopted

    async def _write(self, sdep: SeldonDeployment, step: Step, *, may_exist: bool = True) -> None:
        """Conflict where something stands there that others wrote since it was looked for, or another object of that name."""
        log.info("%s/%s: %s", sdep.namespace, sdep.name, step)
        kind, name = kind_of(step.object), step.object["metadata"]["name"]
        result: Object | None = None
        if step.verb == "Delete":
            try:
                uid = step.object["metadata"]["uid"]
                await self.kube.delete(kind, name, namespace=sdep.namespace, propagation="Background", uid=uid)
            except NotFound:
                return  # gone already: what was wanted
        else:
            result = await self._applied(self._same(sdep, step), sdep, may_exist=may_exist)
            self._accept(sdep, step.object, result)
        self.dependents.wrote(kind, sdep.namespace, name, result)
        if kind.kind not in NO_EVENT:
            message = f"{step.verb}d {kind.kind} {name}" + ("" if step.verb == "Create" else f": {step.reason}")
            await record(self.kube, sdep, f"{step.verb}{kind.kind}", message, now=now())

    async def _applied(self, obj: Object, sdep: SeldonDeployment, *, may_exist: bool) -> Object:
        """What others wrote where the SeldonDeployment has the say is taken over before it is applied away.

        One that was not seen yet may outlive its container, as a container with nothing else, which no API takes.
        """
        seen = self._owned(sdep).get(key_of(obj))
        if seen is not None and first_foreign(seen):
            await self._take_over(obj, sdep)
        try:
            result = await self.kube.apply(obj, field_manager=MANAGER, force=may_exist)
        except Invalid:
            if seen is None or not await self._take_over(obj, sdep):
                raise
            return await self.kube.apply(obj, field_manager=MANAGER, force=may_exist)
        if first_foreign(result) and await self._take_over(obj, sdep):
            return await self.kube.apply(obj, field_manager=MANAGER, force=may_exist)
        return result

    async def _take_over(self, obj: Object, sdep: SeldonDeployment) -> bool:
        """Whether there was anything. Conflict where somebody writes at the same moment."""
        kind, name = kind_of(obj), obj["metadata"]["name"]
        live = await self.kube.get(kind, name, namespace=sdep.namespace)
        body = taken_over(live) if is_owned_by(live, sdep.uid) else None
        if body is not None:
            log.info("%s/%s: %s %s: %s", sdep.namespace, sdep.name, kind.kind, name, first_foreign(live))
            await self.kube.patch(kind, name, body, type="merge", namespace=sdep.namespace, field_manager=MANAGER)
        return body is not None

    def _same(self, sdep: SeldonDeployment, step: Step) -> Object:
        """What is applied; of what is to be changed only the object that was seen, by its uid."""
        seen = self._owned(sdep).get(key_of(step.object))
        uid = seen["metadata"].get("uid") if seen else None
        return {**step.object, "metadata": {**step.object["metadata"], "uid": uid}} if uid else step.object

    def _accept(self, sdep: SeldonDeployment, applied: Object, result: Object) -> None:
        """Remember an answer that differs from what was applied, or every look would apply it again."""
        answers = self.accepted.setdefault((sdep.namespace, sdep.name), {})
        answers.pop(key_of(applied), None)
        if difference := first_difference(applied, result) or first_foreign(result):
            answers[key_of(applied)] = fingerprint(result)
            log.warning("%s/%s: the API keeps %s otherwise", *key_of(applied), difference)

    def _owned(self, sdep: SeldonDeployment) -> dict[ObjectKey, Object]:
        """By owner uid, not by name: another's objects are never ours to change or delete."""
        return {
            (kind.kind, name): obj
            for kind in owned_kinds(self.settings)
            for name, obj in self.dependents.objects(kind, sdep.namespace).items()
            if is_owned_by(obj, sdep.uid)
        }

    async def _label_pods(self, sdep: SeldonDeployment) -> None:
        deployments = [obj for key, obj in self._owned(sdep).items() if key[0] == DEPLOYMENT.kind]
        whole = self.settings.defaulted(sdep)
        for name, labels in label_changes(whole, deployments, self._pods(sdep)):
            log.info("%s/%s: label Pod %s   %s", sdep.namespace, sdep.name, name, labels)
            body = {"metadata": {"labels": labels}}
            try:
                result = await self.kube.patch(
                    POD, name, body, type="merge", namespace=sdep.namespace, field_manager=MANAGER
                )
            except NotFound:
                continue  # it has ended meanwhile; the next one is looked at when it appears
            self.dependents.wrote(POD, sdep.namespace, name, result)

    def _pods(self, sdep: SeldonDeployment) -> list[Object]:
        found = self.dependents.objects(POD, sdep.namespace)
        return [
            pod for _, pod in sorted(found.items()) if pod["metadata"].get("labels", {}).get(DEPLOYMENT_ID) == sdep.name
        ]
