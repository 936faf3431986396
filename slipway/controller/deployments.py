"""One Deployment per componentSpec, with the orchestrator in one of them or in its own (contract 2.1, 2.2, 2.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from slipway.contract.annotations import ROLLOUT, without_followers
from slipway.contract.defaulting import has_separate_engine
from slipway.contract.names import (
    REVISION,
    container_service_name,
    deployment_name,
    orchestrator_deployment_name,
    predictor_service_name,
    service_label,
)
from slipway.contract.sdep import ComponentSpec, PredictorSpec, SeldonDeployment
from slipway.contract.validation import NO_ENGINE
from slipway.controller.facts import Facts
from slipway.controller.meta import DEPLOYMENT_ID, MANAGED_BY, NODE_LABELS, SHADOW, Object, metadata, type_label
from slipway.controller.pod_labels import template_notes
from slipway.controller.pods import PREDICTOR_KEY, node_containers, orchestrator_container, pod_spec

PROMETHEUS = {"prometheus.io/scrape": "true", "prometheus.io/path": "/prometheus"}
CONTAINS_ENGINE = "seldon-deployment-contains-svcorch"
LOCALHOST = "localhost"


def has_engine(predictor: PredictorSpec) -> bool:
    return predictor.annotations.get(NO_ENGINE, "").lower() != "true"


def engine_index(predictor: PredictorSpec, sdep: SeldonDeployment) -> int | None:
    """The componentSpec whose Pod carries the orchestrator: that of the first node (depth-first) on localhost."""
    if not has_engine(predictor) or has_separate_engine(sdep):
        return None
    for node in predictor.graph.walk():
        if node.endpoint and node.endpoint.service_host == LOCALHOST:
            for index, component in enumerate(predictor.component_specs):
                if any(container["name"] == node.name for container in component.containers):
                    return index
    return None


def deployments(predictor: PredictorSpec, sdep: SeldonDeployment, facts: Facts) -> list[Object]:
    """ConfigMap and Deployments of one predictor."""
    objects: list[Object] = []
    carrier = engine_index(predictor, sdep)
    for index, component in enumerate(predictor.component_specs):
        if component.containers:
            objects.extend(_component(predictor, index, sdep, facts, has_orchestrator=index == carrier))
    if has_engine(predictor) and carrier is None:
        objects.extend(_separate_engine(predictor, sdep, facts))
    return objects


def _component(
    predictor: PredictorSpec, index: int, sdep: SeldonDeployment, facts: Facts, *, has_orchestrator: bool
) -> list[Object]:
    component = predictor.component_specs[index]
    name = deployment_name(sdep.name, predictor, index, is_prefixed=facts.settings.prefixes_names)
    containers, initializers, volumes = node_containers(predictor, index, sdep, facts)
    labels = pod_labels(name, predictor, sdep)
    nodes = {node.name: node for node in predictor.graph.walk()}
    for container in component.containers:
        if node := nodes.get(container["name"]):
            labels |= type_label(node)
            service = container_service_name(sdep.name, predictor, node.name)
            labels[service_label(node.name)] = service
    labels = {**(component.metadata.get("labels") or {}), **labels}
    objects: list[Object] = []
    is_entry = not has_engine(predictor) and any(item["name"] == predictor.graph.name for item in component.containers)
    if has_orchestrator or is_entry:
        labels["seldon-app"] = predictor_service_name(sdep.name, predictor)
    if has_orchestrator:
        containers.append(orchestrator_container(predictor, sdep, facts, component.spec))
        volumes.append(_predictor_volume(name))
        objects.append(_config_map(name, predictor, sdep))
    template = {
        "metadata": {
            "labels": labels,
            "annotations": {
                **pod_annotations(predictor, sdep),
                **(component.metadata.get("annotations") or {}),
            },
        },
        "spec": pod_spec(component.spec, containers, initializers, volumes, predictor, facts.settings),
    }
    is_scaled = component.keda_spec is not None or component.hpa_spec is not None
    replicas = None if is_scaled else _first(component.replicas, predictor.replicas, sdep.replicas)
    objects.append(
        deployment_object(name, template, predictor, sdep, replicas=replicas, contains_engine=has_orchestrator)
    )
    return objects


def _separate_engine(predictor: PredictorSpec, sdep: SeldonDeployment, facts: Facts) -> list[Object]:
    name = orchestrator_deployment_name(sdep.name, predictor, is_prefixed=facts.settings.prefixes_names)
    labels = pod_labels(name, predictor, sdep) | {"seldon-app": predictor_service_name(sdep.name, predictor)}
    orchestrator = orchestrator_container(predictor, sdep, facts, {})
    template = {
        # Seldon gives this Pod prometheus.io/* only, and so loses its timeouts and sizes; they belong here.
        "metadata": {"labels": labels, "annotations": pod_annotations(predictor, sdep)},
        "spec": pod_spec({}, [orchestrator], [], [_predictor_volume(name)], predictor, facts.settings),
    }
    replicas = _first(predictor.svc_orch_spec.get("replicas"), predictor.replicas, sdep.replicas)
    deployment = deployment_object(name, template, predictor, sdep, replicas=replicas, contains_engine=True)
    return [_config_map(name, predictor, sdep), deployment]


def pod_annotations(predictor: PredictorSpec, sdep: SeldonDeployment) -> dict[str, str]:
    return {**PROMETHEUS, **without_followers({**sdep.annotations, **predictor.annotations})}


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def pod_labels(name: str, predictor: PredictorSpec, sdep: SeldonDeployment) -> dict[str, str]:
    labels = {"fluentd": "true", **MANAGED_BY, **predictor.labels, DEPLOYMENT_ID: sdep.name, "app": name}
    if predictor.shadow:
        labels[SHADOW] = "true"
    if predictor.revision:
        labels[REVISION] = predictor.revision
    return labels


def deployment_object(
    name: str,
    template: Object,
    predictor: PredictorSpec,
    sdep: SeldonDeployment,
    *,
    replicas: int | None,
    contains_engine: bool,
) -> Object:
    spec: Object = {
        "selector": {"matchLabels": {"app": name, DEPLOYMENT_ID: sdep.name}},
        "strategy": _strategy(predictor),
        "template": template,
    }
    if replicas is not None:
        spec["replicas"] = replicas
    if predictor.progress_deadline_s is not None:
        spec["progressDeadlineSeconds"] = predictor.progress_deadline_s
    labels: dict[str, str] = {"app": name, "fluentd": "true", **predictor.labels}
    labels |= {key: value for key, value in template["metadata"]["labels"].items() if key in NODE_LABELS}
    if contains_engine:
        labels[CONTAINS_ENGINE] = "true"
    notes = template_notes(template, predictor.name, predictor.labels)
    annotations: Mapping[str, str] = {**sdep.annotations, **predictor.annotations, **notes}
    meta = metadata(name, sdep, labels=labels, annotations=dict(annotations))
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def _strategy(predictor: PredictorSpec) -> Object:
    if predictor.annotations.get(ROLLOUT) == "recreate":
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}}


def graph_name(deployment: str) -> str:
    """Of the ConfigMap that carries the predictor."""
    return f"{deployment}-graph"


def _predictor_volume(deployment: str) -> Object:
    return {"name": "slipway-predictor", "configMap": {"name": graph_name(deployment)}}


def _faces(component: ComponentSpec) -> list[Object]:
    """Of each container what the graph's metrics name. Its env, where passwords may stand, stays out of a ConfigMap."""
    return [{key: item[key] for key in ("name", "image", "ports") if key in item} for item in component.containers]


def _config_map(deployment: str, predictor: PredictorSpec, sdep: SeldonDeployment) -> Object:
    """The predictor as the executor reads it; what does not concern a running graph is left out of it."""
    components = tuple(ComponentSpec(spec={"containers": _faces(item)}) for item in predictor.component_specs)
    read = replace(
        predictor, traffic=0, replicas=None, explainer=None, svc_orch_spec={}, ssl={}, component_specs=components
    )
    text = json.dumps(read.to_json(), separators=(",", ":"), sort_keys=True)
    meta = metadata(graph_name(deployment), sdep)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {PREDICTOR_KEY: text}}
