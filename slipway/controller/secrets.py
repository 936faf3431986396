"""The secret that storage initializers read, where they run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.meta import MANAGED_BY, MANAGER
from slipway.controller.owners import NameTaken
from slipway.controller.queue import Key
from slipway.kube.client import Kube
from slipway.kube.errors import Conflict
from slipway.kube.kinds import SECRET
from slipway.kube.reflector import Reflector

AGAIN_S = 600.0
"""A copy is written again after so long, changed or not: the controller may write there but not read, so that one that
somebody deleted comes back."""


@dataclass
class ModelSecret:
    """The installation's secret and where copies of it are. ``source`` follows Secrets in its namespace."""

    kube: Kube
    source: Reflector
    namespace: str
    name: str
    clock: Callable[[], float] = time.monotonic
    copied: dict[Key, tuple[tuple[str, str], float]] = field(default_factory=dict)
    """((uid, version of the source), when) by SeldonDeployment: a namespace may go and come back without the copy."""

    async def ensure(self, sdep: SeldonDeployment) -> float | None:
        """Copy it into the SeldonDeployment's namespace if it has models that name no other secret, and keep it current.

        Seconds until it is to be asked again; None where there is nothing to copy: without a source the initializer's
        reference to it is optional. Raises NameTaken where others made, or changed, a Secret of that name.
        """
        source = self.source.objects(SECRET).get((self.namespace, self.name))
        if source is None or sdep.namespace == self.namespace or not _is_needed(sdep):
            return None
        key, seen = (sdep.namespace, sdep.name), (sdep.uid, str(source["metadata"]["resourceVersion"]))
        before, copied_at = self.copied.get(key, (None, 0.0))
        if before == seen and (left := copied_at + AGAIN_S - self.clock()) > 0:
            return left
        copy = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "namespace": sdep.namespace, "labels": dict(MANAGED_BY)},
            "type": source.get("type", "Opaque"),
            "data": source.get("data") or {},
        }
        try:
            await self.kube.apply(copy, field_manager=MANAGER, force=False)
        except Conflict as exc:
            if not exc.is_about_fields:
                raise
            raise NameTaken(
                f"Secret {self.name} of namespace {sdep.namespace} is kept otherwise by somebody else ({exc}): "
                "delete it, or name it as the nodes' envSecretRefName"
            ) from exc
        self.copied[key] = (seen, self.clock())
        return AGAIN_S

    def forget(self, key: Key) -> None:
        """A SeldonDeployment that is gone."""
        self.copied.pop(key, None)


def _is_needed(sdep: SeldonDeployment) -> bool:
    nodes = (node for predictor in sdep.predictors for node in predictor.graph.walk())
    return any(node.model_uri and not node.env_secret_ref_name for node in nodes)
