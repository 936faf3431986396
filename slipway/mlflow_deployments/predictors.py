"""Predictors of a SeldonDeployment → those after a change. Pure; the dicts are the manifest's own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.contract.annotations import FOLLOW_ALIAS
from slipway.contract.names import SERVICE_NAME_ANNOTATION
from slipway.contract.sdep import GROUP, KIND
from slipway.mlflow_deployments.errors import both_ways, invalid
from slipway.mlflow_deployments.settings import DeploySettings

STABLE, CANARY = "stable", "canary"
TRANSFORMER, DETECTOR = "image-transformer", "yolo-detector"
ALL = 100
OWN = (("annotations", SERVICE_NAME_ANNOTATION), ("labels", "version"))
"""What must differ between two predictors: the Service's name and the label of its Pods."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """What a predictor should run; ``input`` is the network's ``WIDTHxHEIGHT``."""

    uri: str
    input: str


def seldon_deployment(name: str, namespace: str, spec: Mapping[str, Any], *, resource_version: str = "") -> Json:
    """The object to apply; with a resource version only if nobody wrote in between."""
    version = {"resourceVersion": resource_version} if resource_version else {}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace, **version},
        "spec": dict(spec),
    }


def new_predictor(model: Model, settings: DeploySettings) -> Json:
    """Image transformer → detector, all traffic: the form of seldon/base/yolo."""
    detector = {"name": DETECTOR, "type": "MODEL", "modelUri": model.uri}
    transformer = {
        "name": TRANSFORMER,
        "type": "TRANSFORMER",
        "parameters": [{"name": "input", "value": model.input, "type": "STRING"}],
        "children": [detector],
    }
    images = [{"name": name, "image": f"slipway/{name}:{settings.tag}"} for name in (TRANSFORMER, DETECTOR)]
    predictor = {
        "name": settings.predictor or STABLE,
        "traffic": ALL,
        "replicas": 1,
        "graph": transformer,
        "componentSpecs": [{"spec": {"containers": images}}],
    }
    return with_model(predictor, model, settings)


def with_model(predictor: Json, model: Model | None, settings: DeploySettings) -> Json:
    """The same graph with another model, and with what the settings say.

    Raises:
        DeploymentError: the graph has no node, or several, that a model could be for.
    """
    changed = copy.deepcopy(predictor)
    node = _model_node(changed)
    if model is not None:
        node["modelUri"] = model.uri
        for one in _nodes(changed["graph"]):
            if any(parameter["name"] == "input" for parameter in one.get("parameters") or ()):
                _set_parameter(one, "input", model.input, "STRING")
    for name, (value, kind) in settings.detector_parameters.items():
        _set_parameter(node, name, value, kind)
    if settings.replicas is not None:
        changed["replicas"] = settings.replicas
    if settings.follow is not None:
        _set_follow(changed, follow=settings.follow, uri=node.get("modelUri") or "")
    return changed


def with_canary(predictors: Sequence[Json], model: Model, settings: DeploySettings) -> list[Json]:
    """The canary added beside the main predictor, as its copy with another model; or the present canary changed."""
    name = settings.predictor or CANARY
    present = find(predictors, name)
    if present is not None:
        return [with_model(one, model, settings) if one is present else one for one in predictors]
    return [*predictors, with_model(_renamed(main(predictors), name), model, settings)]


def with_traffic(predictors: Sequence[Json], name: str, percent: int) -> list[Json]:
    """``percent`` for one live predictor; the others share the rest as they did.

    Raises:
        DeploymentError: there is no such predictor, or no other one to share with.
    """
    live = [one for one in predictors if not one.get("shadow")]
    others = [one for one in live if one["name"] != name]
    if len(others) == len(live):
        names = ", ".join(one["name"] for one in live)
        raise invalid(
            f"no predictor {name!r} to give {percent} % to, only {names}: "
            "a model beside the traffic adds it: -m MODEL_URI, in Python model_uri=…"
        )
    if not others and percent != ALL:
        raise invalid(f"{name!r} is the only predictor: it has all traffic")
    shares = {name: percent, **_shares(others, ALL - percent)}
    return [{**one, "traffic": shares.get(one["name"], one.get("traffic", 0))} for one in predictors]


def promotion(predictors: Sequence[Json], name: str) -> tuple[list[Json], list[Json]]:
    """While the main predictor loads the canary's model all traffic is the canary's; afterwards the canary goes.

    Raises:
        DeploymentError: there is no canary, or there are further live predictors.
    """
    canary = find(predictors, name)
    live = [one for one in predictors if not one.get("shadow")]
    if canary is None or len(live) != 2:
        names = ", ".join(one["name"] for one in live)
        raise invalid(f"promote takes two predictors, one of them {name!r}; there are: {names}")
    old = main(predictors, canary=name)
    during = [_in_place_of(old, canary) if one is old else one for one in predictors]
    return with_traffic(during, name, ALL), without(during, name)


def without(predictors: Sequence[Json], name: str) -> list[Json]:
    """The others, which share its traffic.

    Raises:
        DeploymentError: there is none of that name, or it is the last live one.
    """
    rest = [one for one in predictors if one["name"] != name]
    live = [one for one in rest if not one.get("shadow")]
    if len(rest) == len(predictors) or not live:
        names = ", ".join(one["name"] for one in predictors)
        raise invalid(f"predictor {name!r} cannot be removed: there are {names}, and one must stay")
    shares = _shares(live, ALL)
    return [{**one, "traffic": shares.get(one["name"], one.get("traffic", 0))} for one in rest]


def main(predictors: Sequence[Json], *, canary: str = CANARY) -> Json:
    """The first live one that is not the canary."""
    live = [one for one in predictors if not one.get("shadow")]
    return next((one for one in live if one["name"] != canary), live[0])


def find(predictors: Sequence[Json], name: str) -> Json | None:
    return next((one for one in predictors if one["name"] == name), None)


def model_uri(predictor: Json) -> str:
    """Of its first node that has one."""
    return next((node["modelUri"] for node in _nodes(predictor["graph"]) if node.get("modelUri")), "")


def _shares(predictors: Sequence[Json], total: int) -> dict[str, int]:
    """``total`` in whole percents, in the present proportions; the first takes what rounding leaves."""
    weights = [int(one.get("traffic") or 0) for one in predictors]
    if not sum(weights):
        weights = [1, *([0] * (len(weights) - 1))]
    parts = [total * weight // sum(weights) for weight in weights]
    parts[:1] = [part + total - sum(parts) for part in parts[:1]]
    return {one["name"]: part for one, part in zip(predictors, parts, strict=True)}


def _renamed(predictor: Json, name: str) -> Json:
    """A copy without what is the first one's own."""
    changed = {**copy.deepcopy(predictor), "name": name, "traffic": 0}
    for part, key in OWN:
        kept = {found: value for found, value in (changed.get(part) or {}).items() if found != key}
        changed.pop(part, None)
        if kept:
            changed[part] = kept
    return changed


def _in_place_of(old: Json, canary: Json) -> Json:
    """The canary's copy, with what is the old one's own: whoever calls that one's Service by its name goes on doing so."""
    changed = _renamed(canary, old["name"])
    for part, key in OWN:
        if key in (own := old.get(part) or {}):
            changed[part] = {**(changed.get(part) or {}), key: own[key]}
    return {**changed, **{key: old[key] for key in ("replicas",) if key in old}}


def _nodes(graph: Json) -> Iterator[Json]:
    yield graph
    for child in graph.get("children") or ():
        yield from _nodes(child)


def _model_node(predictor: Json) -> Json:
    found = [node for node in _nodes(predictor["graph"]) if node.get("modelUri")]
    if len(found) != 1:
        raise invalid(
            f"predictor {predictor['name']!r} has {len(found)} nodes with a modelUri: one is expected; edit it"
        )
    return found[0]


def _set_parameter(node: Json, name: str, value: str, kind: str) -> None:
    kept = [one for one in node.get("parameters") or () if one["name"] != name]
    node["parameters"] = [*kept, {"name": name, "value": value, "type": kind}]


def _set_follow(predictor: Json, *, follow: bool, uri: str) -> None:
    if follow and "@" not in uri:
        raise invalid(f"{both_ways(follow=True)}: {uri} is one version for ever: deploy an alias, models:/NAME@ALIAS")
    predictor["annotations"] = {**(predictor.get("annotations") or {}), FOLLOW_ALIAS: str(follow).lower()}
