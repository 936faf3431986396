"""Whether what is made of a SeldonDeployment can have its names and labels: what the API would refuse of it, and two of one name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from slipway.contract.causes import Cause
from slipway.contract.defaulting import default
from slipway.contract.names import container_service_name, deployment_name, explainer_name, predictor_service_name
from slipway.contract.sdep import PredictorSpec, SeldonDeployment

MAX_PREFIX = 253
NAME_PART = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
"""Of a DNS subdomain, as names of Deployments are."""
LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""A label's value, and the part of its key after the slash (Kubernetes: Labels and Selectors, Syntax and character set)."""


def label_rules(predictor: PredictorSpec, path: str) -> Iterator[Cause]:
    """Labels and names that a Deployment or Pod could not have, and two values for one label."""
    yield from _labels(predictor.labels, f"{path}.labels")
    whole = {"version": predictor.name, **predictor.labels}
    for index, component in enumerate(predictor.component_specs):
        where = f"{path}.componentSpecs[{index}].metadata"
        name = component.metadata.get("name")
        if name and not NAME_PART.fullmatch(name):
            text = f"{name[:80]!r} is part of a Deployment's name: lower case letters, digits, inner hyphens and dots"
            yield Cause(f"{where}.name", text)
        labels = component.metadata.get("labels") or {}
        yield from _labels(labels, f"{where}.labels")
        for key in sorted(labels.keys() & whole.keys()):
            if labels[key] != whole[key]:
                text = f"{labels[key]!r}, while the predictor's label says {whole[key]!r}: its Pods have one of them"
                yield Cause(f"{where}.labels[{key}]", text)


def _labels(labels: Mapping[str, str], path: str) -> Iterator[Cause]:
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        is_key = LABEL.fullmatch(name) and (not slash or (len(prefix) <= MAX_PREFIX and NAME_PART.fullmatch(prefix)))
        if not is_key:
            yield Cause(f"{path}[{key[:80]}]", "no key of a label: [prefix/]name, of letters, digits and inner -_.")
        if value and not LABEL.fullmatch(value):
            yield Cause(
                f"{path}[{key[:80]}]",
                f"{value[:80]!r} is no value of a label: at most 63 letters, digits and inner -_.",
            )


def name_clashes(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Objects that two predictors, or two parts of one, would both make. ``sdep`` keeps every other rule."""
    seen: dict[tuple[str, str], str] = {}
    for index, predictor in enumerate(default(sdep).predictors):
        for kind, name, whose in _made(predictor, sdep.name):
            if other := seen.get((kind, name)):
                text = f"{kind} {name} would be that of {whose} and of {other}: give one of them another name"
                yield Cause(f"spec.predictors[{index}]", text)
            seen.setdefault((kind, name), whose)


def _made(predictor: PredictorSpec, sdep: str) -> Iterator[tuple[str, str, str]]:
    """(kind, name, in words whose it is)."""
    nodes = {node.name for node in predictor.graph.walk()}
    yield "Service", predictor_service_name(sdep, predictor), f"predictor {predictor.name!r}"
    if predictor.explainer is not None:
        for kind in ("Service", "Deployment"):
            yield kind, explainer_name(sdep, predictor), f"the explainer of predictor {predictor.name!r}"
    for index, component in enumerate(predictor.component_specs):
        if component.containers:
            name = deployment_name(sdep, predictor, index)
            yield "Deployment", name, f"componentSpecs[{index}] of predictor {predictor.name!r}"
        for container in component.containers:
            if container["name"] in nodes:
                service = container_service_name(sdep, predictor, container["name"])
                yield "Service", service, f"container {container['name']!r} of predictor {predictor.name!r}"
