"""What happens on the cluster: people apply and edit, a runner makes Pods ready, others own things of the same names."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from slipway.contract.controller_id import LABEL
from slipway.controller.meta import APPLIED, DEPLOYMENT_ID, MANAGED_BY
from slipway.controller.pod_labels import TEMPLATE
from slipway.controller.reconcile import OWNED_KINDS
from slipway.kube.client import Kube
from slipway.kube.errors import Conflict, NotFound
from slipway.kube.kinds import DEPLOYMENT, POD, SECRET, SELDON_DEPLOYMENT, Kind
from slipway.kube.reflector import Reflector
from tests.data import REPOSITORY
from tests.waiting import eventually

Object = dict[str, Any]
SYSTEM = "slipway-system"
HANGS_S = 600.0
"""So long takes only what hangs: a busy machine may be slow, and what a run under faults may ask for is counted."""
KINDS = (*OWNED_KINDS, SECRET)
PASSING = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"}
BY_HAND = {"spec": {"template": {"spec": {"nodeSelector": {"by": "hand"}}}}}


@cache
def overlay(name: str) -> str:
    argv = ["kubectl", "kustomize", REPOSITORY / "seldon" / "overlays" / name]
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout


def manifest(name: str) -> Object:
    found = [obj for obj in yaml.safe_load_all(overlay(name)) if obj["kind"] == "SeldonDeployment"]
    assert len(found) == 1
    return {**found[0], "metadata": {"name": found[0]["metadata"]["name"]}}


@dataclass
class World:
    """One namespace. ``kube`` reaches the API directly: only the controller suffers."""

    kube: Kube
    namespace: str
    versions: dict[str, str] = field(default_factory=dict)

    async def begin(self) -> None:
        """The namespace, and what others have there; ``versions`` says later whether anybody touched it."""
        for name in (SYSTEM, self.namespace):
            await self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "slipway-model-storage"}}
        await self.kube.apply({**secret, "data": {}}, field_manager="person", namespace=SYSTEM)
        for obj in self.strangers():
            made = await self.apply(obj)
            if obj["kind"] in ("ConfigMap", "SeldonDeployment"):
                await self.apply(_owned(obj["metadata"]["name"], made))
        self.versions = await self._versions()

    def strangers(self) -> list[Object]:
        """A name that is taken, an orphan that only looks like ours, another owner's, another controller's."""
        labelled = {**MANAGED_BY, DEPLOYMENT_ID: "yolo"}
        service = {"ports": [{"name": "theirs", "port": 80}]}
        theirs = {**manifest("iris"), "metadata": {"name": "theirs", "labels": {LABEL: "another"}}}
        return [
            _obj("v1", "Service", "taken-default-classifier", spec=service),
            _obj("v1", "Service", "orphan", labels={**labelled, DEPLOYMENT_ID: "long-gone"}, spec=service),
            _obj("v1", "Service", "yolo-by-hand", labels=labelled, spec=service),
            _obj("v1", "ConfigMap", "an-owner", data={"a": "b"}),
            theirs,
        ]

    async def touched(self) -> set[str]:
        """What of others was changed or is gone."""
        now = await self._versions()
        return {name for name, version in self.versions.items() if now.get(name) != version}

    async def _versions(self) -> dict[str, str]:
        names = {obj["metadata"]["name"] for obj in self.strangers()}
        found = {}
        for kind in (*KINDS, SELDON_DEPLOYMENT):
            for obj in (await self.kube.list(kind, namespace=self.namespace)).items:
                if obj["metadata"]["name"].removesuffix("-of-others") in names:
                    found[f"{kind} {obj['metadata']['name']}"] = obj["metadata"]["resourceVersion"]
        return found

    async def apply(self, obj: Object) -> Object:
        return await self.kube.apply(obj, field_manager="person", namespace=self.namespace)

    async def create_all(self) -> None:
        for name in ("canary", "autoscale", "iris"):
            await self.apply(manifest(name))
        await self.apply({**manifest("iris"), "metadata": {"name": "taken"}})

    async def edit_all(self) -> None:
        """Percentages, labels, replicas, a predictor that goes, a SeldonDeployment that goes, Deployments edited by hand."""
        for name in await self._edited():
            await self.kube.patch(
                DEPLOYMENT, name, BY_HAND, type="merge", namespace=self.namespace, field_manager="kubectl-edit"
            )
        canary = manifest("canary")
        stable, second = canary["spec"]["predictors"]
        stable["traffic"], second["traffic"] = 50, 50
        stable["labels"] = {"team": "vision"}
        await self.apply(canary)
        await self.until({"yolo": "Available"})
        await self.apply({**canary, "spec": {"predictors": [{**stable, "traffic": 100, "replicas": 3}]}})
        await self.kube.delete(SELDON_DEPLOYMENT, "iris", namespace=self.namespace, propagation="Background")

    async def until(self, states: Mapping[str, str]) -> None:
        """Every one of ``states`` is that, for its newest generation."""

        async def found() -> bool:
            items = (await self.kube.list(SELDON_DEPLOYMENT, namespace=self.namespace)).items
            now = {obj["metadata"]["name"]: _state(obj) for obj in items}
            return all(now.get(name) == state for name, state in states.items())

        await eventually(found, timeout_s=HANGS_S, what=f"{dict(states)}")

    async def _edited(self, *, still: bool = False) -> list[str]:
        """The Deployments of one SeldonDeployment that nobody else edits; ``still``: those that are as somebody left them."""
        found = await self.kube.list(
            DEPLOYMENT, namespace=self.namespace, label_selector=f"{DEPLOYMENT_ID}=yolo-scaled"
        )
        items = [obj for obj in found.items if not still or "nodeSelector" in obj["spec"]["template"]["spec"]]
        return [obj["metadata"]["name"] for obj in items if not obj["metadata"]["name"].endswith("-of-others")]

    async def until_set_back(self) -> None:
        async def is_set_back() -> bool:
            return not await self._edited(still=True)

        await eventually(is_set_back, timeout_s=HANGS_S, what="the end of what was edited by hand")

    async def until_gone(self, *names: str) -> None:
        """No object's name begins with one of ``names``: a status says Available before the left-overs are deleted."""

        async def are_gone() -> bool:
            lists = [await self.kube.list(kind, namespace=self.namespace) for kind in (*KINDS, SELDON_DEPLOYMENT)]
            return not any(obj["metadata"]["name"].startswith(names) for found in lists for obj in found.items)

        await eventually(are_gone, timeout_s=HANGS_S, what=f"the end of {names}")

    async def snapshot(self) -> dict[str, Object]:
        """Every object as far as it should be the same whenever the same was applied."""
        found, names = {}, {}
        for kind in (*KINDS, SELDON_DEPLOYMENT):
            for obj in (await self.kube.list(kind, namespace=self.namespace)).items:
                found[f"{kind} {obj['metadata']['name']}"] = _plain(obj, kind)
                names[obj["metadata"]["uid"]] = obj["metadata"]["name"]
        text = json.dumps(found, sort_keys=True).replace(self.namespace, "NAMESPACE")
        for uid, name in names.items():
            text = text.replace(uid, f"uid of {name}")
        return json.loads(text)


def _state(obj: Object) -> str:
    status = obj.get("status") or {}
    is_current = status.get("observedGeneration") == obj["metadata"]["generation"]
    return status.get("state", "") if is_current else ""


def _plain(obj: Object, kind: Kind) -> Object:
    meta = {key: value for key, value in obj["metadata"].items() if key not in PASSING}
    notes = {key: value for key, value in (meta.get("annotations") or {}).items() if key not in (APPLIED, TEMPLATE)}
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if not re.fullmatch("clusterIPs?", key)}
    plain = {"metadata": {**meta, "annotations": notes}, "spec": spec, "data": obj.get("data")}
    if kind == SELDON_DEPLOYMENT:
        status = obj.get("status") or {}
        plain["status"] = {key: status.get(key) for key in ("state", "description", "predictors", "traffic", "models")}
        plain["status"]["is_current"] = bool(_state(obj))
    return plain


def _obj(version: str, kind: str, name: str, *, labels: Mapping[str, str] | None = None, **more: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": dict(labels or {})}, **more}


def _owned(name: str, owner: Object) -> Object:
    """A Deployment that has our labels, and that somebody else made."""
    container = {"name": "c", "image": "example/theirs:1"}
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    mark = {**MANAGED_BY, DEPLOYMENT_ID: "yolo" if owner["kind"] == "ConfigMap" else name}
    made = _obj("apps/v1", "Deployment", f"{name}-of-others", labels=mark, spec=spec)
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name,
        "uid": owner["metadata"]["uid"],
    }
    made["metadata"]["ownerReferences"] = [{**reference, "controller": True}]
    return made


class Runner:
    """Plays Deployments' controller and kubelets: every replica is there at once, one ready Pod stands for all."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace

    async def run(self) -> None:
        async with Reflector(self.kube, [DEPLOYMENT], self.namespace) as reflector:
            while True:
                for change in await reflector.changed():
                    found = reflector.objects(DEPLOYMENT).get((change.namespace, change.name))
                    if found is not None and not change.name.endswith("-of-others"):
                        await self._bring_up(found)

    async def _bring_up(self, deployment: Object) -> None:
        name, generation = deployment["metadata"]["name"], deployment["metadata"]["generation"]
        if (deployment.get("status") or {}).get("observedGeneration") == generation:
            return
        count = deployment["spec"].get("replicas", 1)
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), count)
        status = {"status": {"observedGeneration": generation, **counts}}
        try:
            await self._pod(name, deployment)
            await self.kube.patch(
                DEPLOYMENT, name, status, type="merge", namespace=self.namespace, subresource="status"
            )
        except (NotFound, Conflict):
            return  # it is gone, or its namespace; or the next change says so

    async def _pod(self, name: str, deployment: Object) -> None:
        template = deployment["spec"]["template"]
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": deployment["metadata"]["uid"]}
        meta = {"name": f"{name}-0", "labels": template["metadata"]["labels"], "ownerReferences": [owner]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
        try:
            await self.kube.get(POD, f"{name}-0", namespace=self.namespace)
        except NotFound:
            await self.kube.apply(pod, field_manager="runner", namespace=self.namespace)
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await self.kube.patch(POD, f"{name}-0", ready, type="merge", namespace=self.namespace, subresource="status")
