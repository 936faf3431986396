"""The envelope of everything that a SeldonDeployment owns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract.names import bounded
from slipway.contract.sdep import GROUP, KIND, SeldonDeployment
from slipway.controller.facts import Object

DEPLOYMENT_ID = "seldon-deployment-id"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "seldon-core"
"""The value that existing dashboards and selectors look for."""


def deployment_id(sdep: SeldonDeployment) -> str:
    """The label's value: the name, shortened where a label could not carry it."""
    return bounded(sdep.name)


def owner_reference(sdep: SeldonDeployment) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": KIND,
        "name": sdep.name,
        "uid": sdep.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def new_object(
    sdep: SeldonDeployment,
    api_version: str,
    kind: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **body: Any,
) -> Object:
    """An object in the SeldonDeployment's namespace that goes away with it."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": sdep.namespace,
        "labels": {DEPLOYMENT_ID: deployment_id(sdep), MANAGED_BY: MANAGER, **(labels or {})},
        "ownerReferences": [owner_reference(sdep)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}
