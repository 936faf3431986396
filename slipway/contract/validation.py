"""The admission rules of a SeldonDeployment (contract section 1.7, numbers in brackets), and a few of ours.

All violations are collected. Rules see the manifest before defaulting, as Seldon's webhook does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slipway.contract.annotations import check_annotations
from slipway.contract.budget_rules import pdb_causes
from slipway.contract.causes import Cause, choice, with_paths
from slipway.contract.defaulting import is_prepackaged
from slipway.contract.graph import UNKNOWN_IMPLEMENTATION
from slipway.contract.hpa import hpa_causes
from slipway.contract.keda_rules import keda_causes
from slipway.contract.made_names import label_rules, name_clashes
from slipway.contract.model_digests import digest_causes
from slipway.contract.names import SERVICE_NAME_ANNOTATION
from slipway.contract.own_rules import own_rules
from slipway.contract.pod_rules import component_causes
from slipway.contract.predictor_servers import NOT_TENSORFLOW, Servers, image_of, why_no_image
from slipway.contract.sdep import PredictiveUnit, PredictorSpec, SeldonDeployment

PROTOCOLS = ("", "seldon", "tensorflow", "v2", "kfserving")
TRANSPORTS = ("", "rest", "grpc")
SERVER_TYPES = ("", "rpc", "kafka")
KAFKA_ENV = ("KAFKA_BROKER", "KAFKA_INPUT_TOPIC", "KAFKA_OUTPUT_TOPIC")
NO_ENGINE = "seldon.io/no-engine"


def validate(sdep: SeldonDeployment, *, predictor_servers: Servers | None = None) -> list[Cause]:
    """Every violation, in the order of the rules; empty when the resource may be stored."""
    causes = [*_spec_rules(sdep), *_traffic_rules(sdep), *_endpoint_rules(sdep)]
    seen_names: set[str] = set()
    seen_services: set[str] = set()
    for index, predictor in enumerate(sdep.predictors):
        path = f"spec.predictors[{index}]"
        causes.extend(_predictor_rules(predictor, path, sdep, seen_names, seen_services))
        causes.extend(_graph_rules(predictor, path, sdep, predictor_servers or {}))
        causes.extend(label_rules(predictor, path))
    causes += [*own_rules(sdep), *check_annotations(sdep), *digest_causes(sdep)]
    causes += [*hpa_causes(sdep), *keda_causes(sdep), *pdb_causes(sdep)]
    causes += component_causes(sdep)
    return causes or [*name_clashes(sdep)]


def _spec_rules(sdep: SeldonDeployment) -> Iterator[Cause]:
    for name, value, allowed in (
        ("protocol", sdep.protocol, PROTOCOLS),  # [1]
        ("transport", sdep.transport, TRANSPORTS),  # [2]
        ("serverType", sdep.server_type, SERVER_TYPES),  # [3]
    ):
        if value not in allowed:
            yield Cause("spec", f"{name}: {choice(value, allowed)}")
    if not sdep.predictors:
        yield Cause("spec", "predictors: at least one is needed")  # [7]


def _traffic_rules(sdep: SeldonDeployment) -> Iterator[Cause]:
    live = [predictor for predictor in sdep.predictors if not predictor.shadow]
    shadows = [predictor for predictor in sdep.predictors if predictor.shadow]
    if len(sdep.predictors) == 1 and shadows:
        yield Cause("spec.predictors[0]", "the only predictor is a shadow: something live must answer")  # [5]
    if len(shadows) > 1:
        yield Cause("spec", f"{len(shadows)} predictors are shadows, at most one may be")  # [18]
    for shadow in shadows:
        if not 0 <= shadow.traffic <= 100:
            yield Cause(
                "spec", f"shadow {shadow.name!r} has traffic {shadow.traffic}, it must be within 0..100"
            )  # [19]
    total = sum(predictor.traffic for predictor in live)
    if len(live) > 1 and total != 100:
        parts = ", ".join(f"{predictor.name} {predictor.traffic}" for predictor in live)
        yield Cause("spec", f"traffic of the live predictors sums to {total}, not 100 ({parts})")  # [20]
    if len(sdep.predictors) == 1 and 0 < sdep.predictors[0].traffic < 100:
        yield Cause(
            "spec", f"the only predictor has traffic {sdep.predictors[0].traffic}: leave it out or say 100"
        )  # [21]


def _endpoint_rules(sdep: SeldonDeployment) -> Iterator[Cause]:
    types = sorted(
        {
            node.endpoint.type
            for predictor in sdep.predictors
            for node in predictor.graph.walk()
            if node.endpoint and node.endpoint.type
        }
    )
    if len(types) > 1:
        yield Cause("spec", f"endpoint types {', '.join(types)} are mixed, one is possible")  # [16]
    if len(types) == 1 and sdep.transport and types[0].lower() != sdep.transport:
        yield Cause("spec", f"endpoint type {types[0]} contradicts transport {sdep.transport!r}")  # [17]


def _predictor_rules(
    predictor: PredictorSpec, path: str, sdep: SeldonDeployment, names: set[str], services: set[str]
) -> Iterator[Cause]:
    if sdep.server_type == "kafka":
        given = {item.get("name") for item in predictor.svc_orch_spec.get("env") or ()}
        if missing := [name for name in KAFKA_ENV if name not in given]:
            yield Cause(path, f"svcOrchSpec.env lacks {', '.join(missing)}, which serverType kafka needs")  # [4]
    service = predictor.annotations.get(SERVICE_NAME_ANNOTATION)
    if service and service in services:
        yield Cause(path, f"{SERVICE_NAME_ANNOTATION} {service!r} is another predictor's too")  # [6]
    services.add(service or "")
    if NO_ENGINE in predictor.annotations and sum(1 for _ in predictor.graph.walk()) > 1:
        yield Cause(path, f"{NO_ENGINE} is possible with one node only")  # [8]
    if predictor.name in names:
        yield Cause(path, f"name {predictor.name!r} is another predictor's too")  # [9]
    names.add(predictor.name)


def _graph_rules(predictor: PredictorSpec, path: str, sdep: SeldonDeployment, servers: Servers) -> Iterator[Cause]:
    images = {
        container["name"]: container.get("image", "")
        for component in predictor.component_specs
        for container in component.containers
    }
    for node, where in with_paths(predictor.graph, f"{path}.graph"):
        yield from _node_rules(node, where, images, sdep, servers)


def _node_rules(
    node: PredictiveUnit, where: str, images: Mapping[str, str], sdep: SeldonDeployment, servers: Servers
) -> Iterator[Cause]:
    if node.implementation in ("", UNKNOWN_IMPLEMENTATION):
        if node.name not in images:
            yield Cause(where, f"node {node.name!r}: no container of that name in componentSpecs")  # [10]
        if node.type == "UNKNOWN_TYPE" and not node.methods:
            yield Cause(where, f"node {node.name!r}: type UNKNOWN_TYPE needs methods")  # [11]
    if is_prepackaged(node.implementation):
        yield from _prepackaged_rules(node, where, images, sdep, servers)
    if node.logger is not None and not node.logger.mode:
        yield Cause(where, f"node {node.name!r}: logger has no mode (request, response or all)")  # [15]


def _prepackaged_rules(
    node: PredictiveUnit, where: str, images: Mapping[str, str], sdep: SeldonDeployment, servers: Servers
) -> Iterator[Cause]:
    if not node.model_uri and node.implementation != "HUGGINGFACE_SERVER":
        yield Cause(where, f"node {node.name!r}: {node.implementation} needs a modelUri")  # [12]
    if sdep.protocol == "tensorflow" and node.implementation in NOT_TENSORFLOW:
        yield Cause(where, f"node {node.name!r}: {node.implementation} does not speak protocol tensorflow")  # [13]
    if not images.get(node.name) and not image_of(servers, node.implementation, sdep.protocol):
        why = why_no_image(node.implementation, sdep.protocol, servers)
        yield Cause(where, f"node {node.name!r}: {why}")  # [14]
