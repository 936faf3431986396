"""The secret that storage initializers read, where they run."""

from __future__ import annotations

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.meta import MANAGED_BY, MANAGER
from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import SECRET


async def ensure_model_secret(kube: Kube, sdep: SeldonDeployment, default: tuple[str, str]) -> None:
    """Copy the installation's secret into the SeldonDeployment's namespace, if it has models and names no other.

    Without a source there is nothing to copy: the initializer's reference to it is optional.
    """
    namespace, name = default
    needs = any(
        node.model_uri and not node.env_secret_ref_name for item in sdep.predictors for node in item.graph.walk()
    )
    if not needs or sdep.namespace == namespace:
        return
    try:
        source = await kube.get(SECRET, name, namespace=namespace)
    except NotFound:
        return
    copy = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": sdep.namespace, "labels": dict(MANAGED_BY)},
        "type": source.get("type", "Opaque"),
        "data": source.get("data") or {},
    }
    await kube.apply(copy, field_manager=MANAGER)
