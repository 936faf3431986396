"""One look at one SeldonDeployment: resolve, plan, write, report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from slipway.contract.admission import review
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.events import record
from slipway.controller.facts import Facts
from slipway.controller.meta import DEPLOYMENT_ID, MANAGER
from slipway.controller.models import ModelKey, references, remembered, to_status
from slipway.controller.plan import ObjectKey, Step, actions
from slipway.controller.queue import Key
from slipway.controller.secrets import ensure_model_secret
from slipway.controller.settings import Settings
from slipway.controller.status import CREATING, Observed, failed, status_of
from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    DESTINATION_RULE,
    HORIZONTAL_POD_AUTOSCALER,
    POD,
    POD_DISRUPTION_BUDGET,
    SELDON_DEPLOYMENT,
    SERVICE,
    VIRTUAL_SERVICE,
    kind_of,
)
from slipway.kube.reflector import Reflector
from slipway.registry import RegistryAddress, RegistryError, RegistryUnavailable, ResolvedModel, resolve

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


@dataclass(frozen=True)
class Reconciler:
    """The effects around ``desired``, ``actions`` and ``status_of``."""

    kube: Kube
    deployments: Reflector
    dependents: Reflector
    session: aiohttp.ClientSession
    settings: Settings
    registry: RegistryAddress | None

    async def __call__(self, key: Key) -> float | None:
        """None when there is nothing left to do until something changes; else seconds to wait."""
        obj = self.deployments.objects(SELDON_DEPLOYMENT).get(key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return None  # what it owned is collected by the API
        old = obj.get("status") or {}
        if causes := review(obj, predictor_servers=self.settings.predictor_servers):
            description = "; ".join(f"{cause.field}: {cause.message}" for cause in causes)
            await self._report(obj, failed(_light(obj), description, old=old), reason="Invalid")
            return None
        sdep = SeldonDeployment.from_json(obj)
        try:
            models, entries = await self._models(sdep, old)
        except RegistryError as exc:
            await self._report(obj, failed(sdep, str(exc), old=old), reason="ModelNotResolved")
            return exc.retry_after_s
        facts = Facts(self.settings, models)
        await self._apply(sdep, facts)
        await self._report(obj, self._status(sdep, facts, entries, old), reason="Updated")
        return None

    async def _models(
        self, sdep: SeldonDeployment, old: Mapping[str, Any]
    ) -> tuple[dict[ModelKey, ResolvedModel], list[Object]]:
        """Every ``models:/`` node's version: as the status remembers it, else as the registry says now."""
        models: dict[ModelKey, ResolvedModel] = {}
        entries = []
        for wanted in references(sdep):
            model = remembered(old.get("models") or (), wanted)
            if model is None:
                if self.registry is None:
                    raise RegistryUnavailable(f"{wanted.uri}: the controller was started without MLFLOW_TRACKING_URI")
                model = await resolve(wanted.uri, registry=self.registry, session=self.session)
                log.info("%s/%s: %s is %s %s", sdep.namespace, sdep.name, wanted.uri, model.uri, model.digest)
            models[wanted.key] = model
            entries.append(to_status(wanted, model))
        return models, entries

    async def _apply(self, sdep: SeldonDeployment, facts: Facts) -> None:
        steps = actions(desired(sdep, facts), self._owned(sdep))
        if steps:
            await ensure_model_secret(self.kube, sdep, self.settings.default_model_secret)
        for step in steps:
            await self._write(sdep, step)

    async def _write(self, sdep: SeldonDeployment, step: Step) -> None:
        log.info("%s/%s: %s", sdep.namespace, sdep.name, step)
        kind, name = kind_of(step.object), step.object["metadata"]["name"]
        if step.verb == "Delete":
            try:
                uid = step.object["metadata"]["uid"]
                await self.kube.delete(kind, name, namespace=sdep.namespace, propagation="Background", uid=uid)
            except NotFound:
                return  # gone already: what was wanted
        else:
            await self.kube.apply(step.object, field_manager=MANAGER)
        if kind.kind not in NO_EVENT:
            message = f"{step.verb}d {kind.kind} {name}: {step.reason}"
            await record(self.kube, sdep, f"{step.verb}{kind.kind}", message, now=_now())

    def _owned(self, sdep: SeldonDeployment) -> dict[ObjectKey, Object]:
        """By owner uid, not by name: another's objects are never ours to change or delete."""
        return {
            (kind.kind, name): obj
            for kind in OWNED_KINDS
            for (namespace, name), obj in self.dependents.objects(kind).items()
            if namespace == sdep.namespace
            and any(owner.get("uid") == sdep.uid for owner in obj["metadata"].get("ownerReferences") or ())
        }

    def _status(self, sdep: SeldonDeployment, facts: Facts, entries: list[Object], old: Mapping[str, Any]) -> Object:
        pods = [
            pod
            for (namespace, _), pod in sorted(self.dependents.objects(POD).items())
            if namespace == sdep.namespace and pod["metadata"].get("labels", {}).get(DEPLOYMENT_ID) == sdep.name
        ]
        observed = Observed(self._owned(sdep), pods)
        return status_of(sdep, facts, observed, models=entries, now=_now(), old=old)

    async def _report(self, obj: Object, status: Object, *, reason: str) -> None:
        """Write the status where it differs, and an event where the state does."""
        old = obj.get("status") or {}
        if status == old:
            return
        meta = obj["metadata"]
        body = [{"op": "add", "path": "/status", "value": status}]
        await self.kube.patch(
            SELDON_DEPLOYMENT,
            meta["name"],
            body,
            type="json",
            namespace=meta["namespace"],
            subresource="status",
            field_manager=MANAGER,
        )
        if (old.get("state"), old.get("description")) != (status["state"], status.get("description")):
            is_bad = status["state"] == "Failed"
            message = status.get("description") or f"{old.get('state', CREATING)} → {status['state']}"
            kind = "Warning" if is_bad else "Normal"
            await record(self.kube, _light(obj), reason, message, now=_now(), kind=kind)  # type: ignore[arg-type]


def _light(obj: Mapping[str, Any]) -> SeldonDeployment:
    """The identity of an object whose spec may not be readable."""
    meta = obj["metadata"]
    return SeldonDeployment(
        meta["name"], meta.get("namespace", ""), (), uid=meta.get("uid", ""), generation=meta.get("generation", 0)
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
