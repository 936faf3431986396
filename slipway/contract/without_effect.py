"""What manifests written for Seldon may hold without any effect, in Seldon or here: taken, and told (contract §1, §9.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.annotations import unread
from slipway.contract.controller_id import LABEL
from slipway.contract.fields import FieldError
from slipway.contract.sdep import GROUP, KIND, SeldonDeployment

SPEC = {
    "name": "the object is called what metadata.name says",
    "oauth_key": "Seldon's own gateway read it, which is no more; let the mesh ask who is calling",
    "oauth_secret": "Seldon's own gateway read it, which is no more; let the mesh ask who is calling",
}
"""Field of ``spec`` → what is right instead."""
COUNTED = ("replicas", "hpaSpec", "kedaSpec")
"""Fields of a componentSpec that leave nothing to ``spec.replicas``."""
ENGINE_RESOURCES = "say svcOrchSpec.resources instead"
ONE_CONTROLLER = "one machine has one controller, which looks after every SeldonDeployment"


def without_effect(obj: Mapping[str, Any], *, is_one_machine: bool = True) -> list[str]:
    """One sentence for each such field of a SeldonDeployment; other kinds have none, and what cannot be read neither.

    On a cluster the label of a controller has its effect.
    """
    sdep = readable(obj)
    if sdep is None:
        return []
    found = [*_found(obj, is_one_machine=is_one_machine), *unread(sdep)]
    return [f"{path} has no effect: {instead}" for path, instead in found]


def readable(obj: Mapping[str, Any]) -> SeldonDeployment | None:
    """None for other kinds, and for a SeldonDeployment that cannot be read."""
    if obj.get("kind") != KIND or not str(obj.get("apiVersion", "")).startswith(f"{GROUP}/"):
        return None
    try:
        return SeldonDeployment.from_json(obj)
    except (FieldError, RecursionError):  # admission says what is wrong, or the status where there is none before it
        return None


def _found(obj: Mapping[str, Any], *, is_one_machine: bool) -> Iterator[tuple[str, str]]:
    if is_one_machine and LABEL in (obj["metadata"].get("labels") or {}):
        yield f"metadata.labels[{LABEL}]", ONE_CONTROLLER
    spec = obj.get("spec") or {}
    for name, instead in SPEC.items():
        if spec.get(name):
            yield f"spec.{name}", instead
    if spec.get("replicas") is not None and all(map(_says_replicas, spec.get("predictors") or ())):
        yield "spec.replicas", "every predictor has its own replicas, or an autoscaler"
    for place, predictor in enumerate(spec.get("predictors") or ()):
        if predictor.get("engineResources"):
            yield f"spec.predictors[{place}].engineResources", ENGINE_RESOURCES


def _says_replicas(predictor: Mapping[str, Any]) -> bool:
    """For every Deployment of it (contract §1.4: component, predictor, resource, in this order)."""
    components = predictor.get("componentSpecs") or ()
    return predictor.get("replicas") is not None or (
        bool(components) and all(any(component.get(name) is not None for name in COUNTED) for component in components)
    )
