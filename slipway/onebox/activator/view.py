"""What the API's objects say about one target: an endpoint that is ready, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from slipway.kube.kinds import DEPLOYMENT, ENDPOINT_SLICE, POD, SERVICE, Kind
from slipway.kube.pods import Trouble, trouble_of
from slipway.onebox.mesh.ir import Endpoint
from slipway.onebox.mesh.services import SERVICE_NAME_LABEL, index_services
from slipway.onebox.mesh.sleepers import Target

Object = Mapping[str, Any]
KINDS = (DEPLOYMENT, SERVICE, ENDPOINT_SLICE, POD)
"""What is read here."""


class Objects(Protocol):
    """A reflector, as far as it is read here."""

    def objects(self, kind: Kind) -> Mapping[tuple[str, str], Object]: ...


@dataclass(frozen=True)
class View:
    """A reading of the objects as they are at each call."""

    objects: Objects

    def deployment(self, target: Target) -> Object | None:
        return self.objects.objects(DEPLOYMENT).get((target.namespace, target.deployment))

    def endpoints(self, target: Target) -> tuple[Endpoint, ...]:
        """Ready ones of the target's Service and port whose Pods are the Deployment's."""
        key = (target.namespace, target.service)
        service, deployment = self.objects.objects(SERVICE).get(key), self.deployment(target)
        if service is None or deployment is None:
            return ()
        slices = [
            item
            for (namespace, _), item in self.objects.objects(ENDPOINT_SLICE).items()
            if namespace == target.namespace
            and (item["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL) == target.service
        ]
        known = index_services([service], slices, self._pods(target.namespace))[key]
        port = known.port(target.port)
        return known.ready(port, pod_labels(deployment)) if port else ()

    def trouble(self, target: Target) -> Trouble | None:
        """Why the Deployment's Pods are not ready, where they say so."""
        deployment = self.deployment(target)
        if deployment is None:
            return Trouble("NotFound", "there is no such Deployment any more", waits=True)
        labels = pod_labels(deployment).items()
        pods = [pod for pod in self._pods(target.namespace) if labels <= (pod["metadata"].get("labels") or {}).items()]
        return trouble_of([pod for pod in pods if not pod["metadata"].get("deletionTimestamp")])

    def _pods(self, namespace: str) -> Iterable[Object]:
        return [pod for (where, _), pod in self.objects.objects(POD).items() if where == namespace]


def pod_labels(deployment: Object) -> Mapping[str, str]:
    """Those that tell the Deployment's Pods from others: its selector's."""
    selector = (deployment.get("spec") or {}).get("selector") or {}
    return selector.get("matchLabels") or {}
