"""HorizontalPodAutoscaler, ScaledObject and PodDisruptionBudget of a componentSpec (contract section 1.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.hpa import autoscaler_spec
from slipway.contract.names import deployment_name
from slipway.contract.sdep import Json, PredictorSpec, SeldonDeployment
from slipway.controller.drift import is_our_apply
from slipway.controller.meta import Object, metadata
from slipway.controller.settings import Settings


def refused_autoscaling(sdep: SeldonDeployment, settings: Settings) -> Iterator[Cause]:
    """A kedaSpec where no KEDA acts on it: the number of Pods would be nobody's."""
    for index, predictor in enumerate(sdep.predictors):
        for number, component in enumerate(predictor.component_specs):
            if component.keda_spec is not None and not settings.has_keda:
                path = f"spec.predictors[{index}].componentSpecs[{number}].kedaSpec"
                yield Cause(path, "this controller runs without KEDA: use hpaSpec, or start it with --keda")


def autoscaling(predictor: PredictorSpec, sdep: SeldonDeployment, settings: Settings) -> list[Object]:
    """Each object is named like the Deployment that it is about."""
    objects = []
    for index, component in enumerate(predictor.component_specs):
        if not component.containers:
            continue
        name = deployment_name(sdep.name, predictor, index, is_prefixed=settings.prefixes_names)
        if component.keda_spec is not None:
            objects.append(_scaled_object(name, component.keda_spec, sdep))
        elif component.hpa_spec is not None:
            objects.append(_autoscaler(name, component.hpa_spec, sdep))
        if component.pdb_spec is not None:
            objects.append(_disruption_budget(name, component.pdb_spec, sdep))
    return objects


def kept_replicas(wanted: Object, found: Mapping[str, Any] | None) -> Object:
    """``wanted``, with the replicas of ``found`` while they are still what we wrote before an autoscaler had them.

    An apply that leaves out a field that is ours takes it away, and the API would put its default there: one replica,
    whatever the load is. Once the autoscaler has written another number it is no longer ours.
    """
    if found is None or wanted["kind"] != "Deployment" or "replicas" in wanted["spec"]:
        return wanted
    fields = (entry for entry in found["metadata"].get("managedFields") or () if is_our_apply(entry))
    if not any("f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {}) for entry in fields):
        return wanted
    return {**wanted, "spec": {**wanted["spec"], "replicas": found["spec"].get("replicas", 1)}}


def _autoscaler(name: str, spec: Json, sdep: SeldonDeployment) -> Object:
    body, meta = autoscaler_spec(spec, name), metadata(name, sdep)
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": body}


def _scaled_object(name: str, spec: Json, sdep: SeldonDeployment) -> Object:
    body = {"scaleTargetRef": {"name": name}, **spec}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata(name, sdep), "spec": body}


def _disruption_budget(name: str, spec: Json, sdep: SeldonDeployment) -> Object:
    # Seldon selects every Pod of the SeldonDeployment; the budget is about this Deployment's.
    body = {"selector": {"matchLabels": {"app": name}}, **spec}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(name, sdep), "spec": body}
