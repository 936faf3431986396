"""Everything that the checked manifests make, with what the controller will make of them: what others may refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.cli.check_api import DEFAULT_NAMESPACE, is_seldon_deployment
from slipway.contract.admission import review
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.settings import ONE_MACHINE
from slipway.registry import ResolvedModel, is_model_reference

Object = dict[str, Any]
NO_UID = "00000000-0000-0000-0000-000000000000"
"""Of the owner that generated objects name: a manifest has none yet."""
TEMPLATED = frozenset({"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"})


@dataclass(frozen=True)
class PodSpec:
    """The containers of one kind of Pod: where they stand in the manifest, and what they are."""

    path: str
    body: Mapping[str, Any]
    labels: Mapping[str, str]

    def containers(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for group in ("initContainers", "containers"):
            for index, container in enumerate(self.body.get(group) or ()):
                yield f"{self.path}.{group}[{index}]", container


@dataclass
class World:
    """Objects by (kind, namespace, name). ``partial``: namespaces in which something was refused, which is said already."""

    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    partial: set[str] = field(default_factory=set)

    def add(self, obj: Object) -> None:
        """``obj``, and what the controller makes of it."""
        for item in (obj, *generated(obj)):
            self.objects[item["kind"], namespace_of(item), item["metadata"]["name"]] = item

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((kind, namespace, name))

    def pods(self, namespace: str) -> Iterator[PodSpec]:
        for (kind, place, _), obj in self.objects.items():
            if place == namespace and kind != "SeldonDeployment":
                yield from pod_specs(obj)


def namespace_of(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("namespace") or DEFAULT_NAMESPACE)


def generated(obj: Object) -> list[Object]:
    """What the controller makes of a SeldonDeployment that the API takes; nothing of other objects."""
    if not is_seldon_deployment(obj) or review(obj, predictor_servers=ONE_MACHINE.predictor_servers):
        return []
    meta = {**obj["metadata"], "namespace": namespace_of(obj), "uid": NO_UID}
    sdep = SeldonDeployment.from_json({**obj, "metadata": meta})
    return desired(sdep, Facts(ONE_MACHINE, models=dict(_any_versions(sdep))))


def _any_versions(sdep: SeldonDeployment) -> Iterator[tuple[tuple[str, str], ResolvedModel]]:
    """No registry is asked: names and labels of what is made do not depend on which version an alias names."""
    for predictor in sdep.predictors:
        for node in predictor.graph.walk():
            if is_model_reference(node.model_uri):
                yield (predictor.name, node.name), ResolvedModel(node.name, "0", None, node.model_uri, None)


def pod_specs(obj: Mapping[str, Any]) -> Iterator[PodSpec]:
    """Each Pod specification that an object holds, as it is written."""
    spec = obj.get("spec") or {}
    if obj["kind"] == "Pod":
        yield PodSpec("spec", spec, obj["metadata"].get("labels") or {})
    elif obj["kind"] in TEMPLATED:
        template = spec.get("template") or {}
        labels = (template.get("metadata") or {}).get("labels") or {}
        yield PodSpec("spec.template.spec", template.get("spec") or {}, labels)
    elif obj["kind"] == "SeldonDeployment":
        for index, predictor in enumerate(spec.get("predictors") or ()):
            if container := (predictor.get("explainer") or {}).get("containerSpec"):
                yield PodSpec(f"spec.predictors[{index}].explainer", {"containers": [container]}, {})
            for number, component in enumerate(predictor.get("componentSpecs") or ()):
                path = f"spec.predictors[{index}].componentSpecs[{number}].spec"
                yield PodSpec(path, component.get("spec") or {}, {})
