"""The secret that storage initializers read, where they run."""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.meta import MANAGED_BY, MANAGER
from slipway.controller.owners import NameTaken
from slipway.controller.queue import Key
from slipway.kube.client import Kube
from slipway.kube.errors import Conflict
from slipway.kube.kinds import SECRET
from slipway.kube.reflector import Reflector


@dataclass
class ModelSecret:
    """The installation's secret and where copies of it are. ``source`` follows Secrets in its namespace."""

    kube: Kube
    source: Reflector
    namespace: str
    name: str
    copied: dict[Key, tuple[str, str]] = field(default_factory=dict)
    """(uid, version of the source) by SeldonDeployment: a namespace may go and come back without the copy."""

    async def ensure(self, sdep: SeldonDeployment) -> None:
        """Copy it into the SeldonDeployment's namespace if it has models that name no other secret, and keep it current.

        Without a source there is nothing to copy: the initializer's reference to it is optional. Raises NameTaken where
        others made, or changed, a Secret of that name.
        """
        source = self.source.objects(SECRET).get((self.namespace, self.name))
        if source is None or sdep.namespace == self.namespace or not _is_needed(sdep):
            return
        key, seen = (sdep.namespace, sdep.name), (sdep.uid, str(source["metadata"]["resourceVersion"]))
        if self.copied.get(key) == seen:
            return
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
            raise NameTaken(
                f"Secret {self.name} of namespace {sdep.namespace} is kept otherwise by somebody else ({exc}): "
                "delete it, or name it as the nodes' envSecretRefName"
            ) from exc
        self.copied[key] = seen

    def forget(self, key: Key) -> None:
        """A SeldonDeployment that is gone."""
        self.copied.pop(key, None)


def _is_needed(sdep: SeldonDeployment) -> bool:
    nodes = (node for predictor in sdep.predictors for node in predictor.graph.walk())
    return any(node.model_uri and not node.env_secret_ref_name for node in nodes)
