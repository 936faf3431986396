"""Labels, owners and ports that generated objects share."""

from __future__ import annotations

from typing import Any

from slipway.contract.sdep import GROUP, KIND, PredictiveUnit, SeldonDeployment

MANAGER = "slipway-controller"
MANAGED_BY = {"app.kubernetes.io/managed-by": "seldon-core"}  # what existing selectors and dashboards look for
DEPLOYMENT_ID = "seldon-deployment-id"
APPLIED = "slipway.dev/applied"
"""Annotation of a generated object: what was last applied, as a digest, so that a removed field is noticed."""
HTTP_PORT, GRPC_PORT = 8000, 5001
EXPLAINER = "seldon.io/explainer"
SHADOW = "seldon.io/shadow"
TYPE_LABELS = {
    "MODEL": "seldon.io/model",
    "ROUTER": "seldon.io/router",
    "COMBINER": "seldon.io/combiner",
    "TRANSFORMER": "seldon.io/transformer",
    "OUTPUT_TRANSFORMER": "seldon.io/output-transformer",
}
NODE_LABELS = frozenset({EXPLAINER, SHADOW, *TYPE_LABELS.values()})
"""What a Pod, its Deployment and its Service say of the nodes in it."""
Object = dict[str, Any]
ISTIO_NETWORKING = "networking.istio.io/v1"


def metadata(name: str, sdep: SeldonDeployment, **more: Any) -> Object:
    """Name, namespace, the labels that find it and the owner that takes it along when it goes."""
    labels = {DEPLOYMENT_ID: sdep.name, **MANAGED_BY, **more.pop("labels", {})}
    return {
        "name": name,
        "namespace": sdep.namespace,
        "labels": labels,
        "ownerReferences": [owner(sdep)],
        **{key: value for key, value in more.items() if value},
    }


def owner(sdep: SeldonDeployment) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": KIND,
        "name": sdep.name,
        "uid": sdep.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def type_label(node: PredictiveUnit) -> dict[str, str]:
    return {TYPE_LABELS[node.type]: "true"} if node.type in TYPE_LABELS else {}
