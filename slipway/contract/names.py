"""Names of everything that is generated from a SeldonDeployment (contract section 2.1)."""

from __future__ import annotations

import hashlib

from slipway.contract.sdep import PredictorSpec

MAX_NAME = 63
ORCHESTRATOR = "seldon-container-engine"
SERVICE_NAME_ANNOTATION = "seldon.io/svc-name"
REVISION = "slipway.dev/revision"
"""Label of the Pods of a predictor that follows aliases, and of what its Services select: the revision's name."""


def bounded(name: str, *, prefix: str = "") -> str:
    """``name``, or, where it is too long for Kubernetes, its MD5 behind ``prefix`` if that fits, else ``seldon-``."""
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    prefixed = f"{prefix}-{digest}"
    return prefixed if prefix and len(prefixed) <= MAX_NAME else f"seldon-{digest}"


def deployment_name(sdep: str, predictor: PredictorSpec, index: int, *, is_prefixed: bool = False) -> str:
    """Of componentSpec ``index``: its own name, else its containers' names joined.

    ``is_prefixed``: one that is too long keeps the SeldonDeployment's name before its hash.
    """
    component = predictor.component_specs[index]
    suffix = component.metadata.get("name") or "-".join(container["name"] for container in component.containers)
    return bounded(_revised(f"{sdep}-{predictor.name}-{index}-{suffix}", predictor), prefix=sdep if is_prefixed else "")


def orchestrator_deployment_name(sdep: str, predictor: PredictorSpec, *, is_prefixed: bool = False) -> str:
    """Of the orchestrator's own Deployment; ``is_prefixed`` as for ``deployment_name``."""
    return bounded(_revised(f"{sdep}-{predictor.name}-svc-orch", predictor), prefix=sdep if is_prefixed else "")


def predictor_service_name(sdep: str, predictor: PredictorSpec) -> str:
    return predictor.annotations.get(SERVICE_NAME_ANNOTATION) or bounded(f"{sdep}-{predictor.name}")


def container_service_name(sdep: str, predictor: PredictorSpec, container: str) -> str:
    return bounded(f"{sdep}-{predictor.name}-{container}")


def revision_service_name(sdep: str, predictor: PredictorSpec, container: str) -> str:
    """Where the other Pods of the same revision find a container."""
    return bounded(_revised(f"{sdep}-{predictor.name}-{container}", predictor))


def explainer_name(sdep: str, predictor: PredictorSpec) -> str:
    """Of the Deployment and the Service of a predictor's explainer."""
    return bounded(f"{sdep}-{predictor.name}-explainer")


def explainer_route_name(sdep: str, predictor: PredictorSpec) -> str:
    """Of the VirtualService that leads to it."""
    return bounded(f"{explainer_name(sdep, predictor)}-http")


def service_label(container: str) -> str:
    """The label by which a container's Service finds its Pods."""
    return bounded(f"seldon-app-svc-{container}")


def initializer_name(container: str) -> str:
    """Of the init container that fetches the model of a node."""
    return bounded(f"{container}-model-initializer")


def model_volume_name(container: str) -> str:
    return bounded(f"{container}-provision-location")


def claim_volume_name(container: str) -> str:
    """Of the claim that a ``pvc://`` model is on."""
    return bounded(f"{container}-pvc")


def _revised(name: str, predictor: PredictorSpec) -> str:
    return f"{name}-{predictor.revision}" if predictor.revision else name


def service_host(service: str, namespace: str) -> str:
    return f"{service}.{namespace}.svc.cluster.local"
