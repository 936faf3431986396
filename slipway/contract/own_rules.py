"""Rules beyond Seldon's: what Seldon accepts and then ignores, or only fails on when Pods start."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from slipway.contract.annotations import FOLLOW_ALIAS, MATCH, ROLLBACK, ROLLOUT, is_true, of_predictor
from slipway.contract.causes import Cause, choice, with_paths
from slipway.contract.fields import FieldError
from slipway.contract.following import RollbackRequest
from slipway.contract.graph import METHODS, NODE_TYPES, RANDOM_ABTEST, Logger, PredictiveUnit, name_fault
from slipway.contract.loggers import LOGGER_MODES, check_log_url
from slipway.contract.names import MAX_NAME, ORCHESTRATOR, REVISION
from slipway.contract.parameters import parse_value, ratio_a
from slipway.contract.sdep import PredictorSpec, SeldonDeployment

MAX_NODES = 64
"""Of one graph: each is called and probed by one executor."""
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
RESERVED_LABELS = frozenset({"app", "seldon-app", "seldon-deployment-id", REVISION})
CHILDREN_NEEDED = {
    "ROUTER": "routes to its children",
    "SIMPLE_ROUTER": "routes to its first child",
    "COMBINER": "combines the answers of its children",
    "AVERAGE_COMBINER": "averages the answers of its children",
}


def own_rules(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Violations in the order of the manifest."""
    if not _is_label(sdep.name):
        yield Cause("metadata.name", _not_a_label(sdep.name))
    if (text := sdep.metadata_annotations.get(ROLLBACK)) is not None:
        try:
            RollbackRequest.parse(text, f"metadata.annotations[{ROLLBACK}]")
        except FieldError as error:
            yield Cause(error.path, error.message)
    yield from _groups(sdep)
    for index, predictor in enumerate(sdep.predictors):
        path = f"spec.predictors[{index}]"
        yield from _predictor(predictor, path)
        if predictor.annotations.get(ROLLOUT) == "recreate" and is_true(of_predictor(FOLLOW_ALIAS, predictor, sdep)):
            yield Cause(
                f"{path}.annotations[{ROLLOUT}]",
                f"recreate is for a machine without room for two versions, {FOLLOW_ALIAS} starts the new one beside the old",
            )
        yield from _graph(predictor.graph, f"{path}.graph")
        if predictor.explainer is not None and (fault := predictor.explainer.endpoint.fault):
            yield Cause(f"{path}.explainer", fault)


def _groups(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Each group of callers belongs to one predictor that answers."""
    seen: dict[str, str] = {}
    for index, predictor in enumerate(sdep.predictors):
        group = predictor.annotations.get(MATCH)
        if group is None:
            continue
        path = f"spec.predictors[{index}].annotations[{MATCH}]"
        if predictor.shadow:
            yield Cause(path, "a shadow gets copies and answers nobody: give the group to a live predictor")
        if group in seen:
            yield Cause(path, f"{group} belongs to {seen[group]!r} already: a request goes to one predictor")
        seen.setdefault(group, predictor.name)


def _predictor(predictor: PredictorSpec, path: str) -> Iterator[Cause]:
    if not _is_label(predictor.name):
        yield Cause(f"{path}.name", _not_a_label(predictor.name))
    if predictor.traffic < 0:
        yield Cause(f"{path}.traffic", f"{predictor.traffic} is below 0: a predictor gets from 0 to 100 percent")
    given = [(f"{path}.labels", predictor.labels)]
    given += [
        (f"{path}.componentSpecs[{index}].metadata.labels", component.metadata.get("labels") or {})
        for index, component in enumerate(predictor.component_specs)
    ]
    for where, labels in given:
        for name in RESERVED_LABELS & labels.keys():
            yield Cause(f"{where}[{name}]", "Deployments and Services find their Pods by this label: choose another")
    names = [container["name"] for component in predictor.component_specs for container in component.containers]
    for name, count in Counter(names).items():
        if count > 1:
            yield Cause(f"{path}.componentSpecs", f"{count} containers are named {name!r}: a node could be either")
        if name == ORCHESTRATOR:
            yield Cause(f"{path}.componentSpecs", f"the name {name!r} belongs to the orchestrator")
        if not _is_label(name):
            yield Cause(f"{path}.componentSpecs", f"container {_not_a_label(name)}")


def _graph(graph: PredictiveUnit, path: str) -> Iterator[Cause]:
    nodes = list(with_paths(graph, path))
    if len(nodes) > MAX_NODES:
        yield Cause(path, f"{len(nodes)} nodes, at most {MAX_NODES} are possible")
    seen: set[str] = set()
    for node, where in nodes:
        if node.name in seen:
            yield Cause(where, f"name {node.name!r} stands for two nodes of this graph")
        seen.add(node.name)
        if fault := name_fault(node.name):
            yield Cause(where, f"node {fault}")
        yield from (Cause(where, f"node {node.name!r}: {message}") for message in _node(node))


def _node(node: PredictiveUnit) -> Iterator[str]:
    if node.type and node.type not in NODE_TYPES:
        yield f"type {choice(node.type, NODE_TYPES)}"
    for method in node.methods:
        if method not in METHODS:
            yield f"method {choice(method, METHODS)}"
    for word in (node.type, node.implementation):
        if word in CHILDREN_NEEDED and not node.children:
            yield f"{word} {CHILDREN_NEEDED[word]}, it has none"
    if node.endpoint is not None and (fault := node.endpoint.fault):
        yield fault
    if node.logger is not None:
        yield from _logger(node.logger)
    yield from _parameters(node)
    if node.implementation == RANDOM_ABTEST:
        yield from _ab_test(node)


def _logger(logger: Logger) -> Iterator[str]:
    if logger.mode and logger.mode not in LOGGER_MODES:
        yield f"logger mode {choice(logger.mode, LOGGER_MODES)}"
    if logger.url:
        try:
            check_log_url(logger.url)
        except ValueError as error:
            yield str(error)


def _parameters(node: PredictiveUnit) -> Iterator[str]:
    seen: set[str] = set()
    for parameter in node.parameters:
        if parameter.name in seen:
            yield f"parameter {parameter.name!r} is given twice"
        seen.add(parameter.name)
        try:
            parse_value(parameter)
        except ValueError as error:
            yield f"parameter {parameter.name!r}: {error}"


def _ab_test(node: PredictiveUnit) -> Iterator[str]:
    if len(node.children) != 2:
        yield f"{RANDOM_ABTEST} chooses between two children, it has {len(node.children)}"
    if node.type == "ROUTER":
        yield f"{RANDOM_ABTEST} is built in: with type ROUTER it would be called over the network"
    try:
        ratio_a(node.parameters)
    except ValueError as error:
        yield str(error)


def _is_label(name: str) -> bool:
    return len(name) <= MAX_NAME and DNS_LABEL.fullmatch(name) is not None


def _not_a_label(name: str) -> str:
    return f"{name[:80]!r} is not a name of at most {MAX_NAME} lower case letters, digits and inner hyphens"
