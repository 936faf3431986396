"""HorizontalPodAutoscaler, ScaledObject and PodDisruptionBudget of a componentSpec (contract section 1.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.names import deployment_name
from slipway.contract.sdep import Json, PredictorSpec, SeldonDeployment
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


def _autoscaler(name: str, spec: Json, sdep: SeldonDeployment) -> Object:
    metrics = (
        [_converted(item) for item in spec["metrics"]] if spec.get("metrics") else list(spec.get("metricsv2") or ())
    )
    body: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "maxReplicas": spec["maxReplicas"],
        "metrics": metrics,
    }
    if spec.get("minReplicas") is not None:
        body["minReplicas"] = spec["minReplicas"]
    meta = metadata(name, sdep)
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": body}


def _converted(metric: Mapping[str, Any]) -> dict[str, Any]:
    """autoscaling/v2beta1 → v2: the flat target fields become ``target``."""
    kind = metric["type"]
    key = kind[0].lower() + kind[1:]
    source = dict(metric.get(key) or {})
    target: dict[str, Any] = {}
    for old, new, label in (
        ("targetAverageUtilization", "averageUtilization", "Utilization"),
        ("targetAverageValue", "averageValue", "AverageValue"),
        ("targetValue", "value", "Value"),
    ):
        if old in source:
            target = {"type": label, new: source.pop(old)}
    if "metricName" in source:
        source["metric"] = {"name": source.pop("metricName")}
        if "metricSelector" in source:
            source["metric"]["selector"] = source.pop("metricSelector")
    return {"type": kind, key: {**source, **({"target": target} if target else {})}}


def _scaled_object(name: str, spec: Json, sdep: SeldonDeployment) -> Object:
    body = {"scaleTargetRef": {"name": name}, **spec}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata(name, sdep), "spec": body}


def _disruption_budget(name: str, spec: Json, sdep: SeldonDeployment) -> Object:
    # Seldon selects every Pod of the SeldonDeployment; the budget is about this Deployment's.
    body = {"selector": {"matchLabels": {"app": name}}, **spec}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(name, sdep), "spec": body}
