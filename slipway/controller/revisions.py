"""The revisions of a predictor that follows aliases → one predictor each, with Deployments of its own."""

from __future__ import annotations

from dataclasses import replace

from slipway.contract.following import Revision
from slipway.contract.names import container_service_name, revision_service_name, service_host
from slipway.contract.sdep import PredictiveUnit, PredictorSpec, SeldonDeployment
from slipway.controller.facts import Facts
from slipway.registry import ResolvedModel, parse_model_reference


def revisions_of(predictor: PredictorSpec, sdep: SeldonDeployment, facts: Facts) -> list[tuple[PredictorSpec, Facts]]:
    """Each revision that runs, the wanted one first; the predictor itself where it follows nothing. ``sdep`` is defaulted."""
    revisions = facts.revisions.get(predictor.name)
    if not revisions:
        return [(predictor, facts)]
    return [(in_revision(predictor, revision, sdep), _facts_of(predictor, revision, facts)) for revision in revisions]


def in_revision(predictor: PredictorSpec, revision: Revision, sdep: SeldonDeployment) -> PredictorSpec:
    """The predictor whose nodes find each other, and not those of another revision."""
    revised = replace(predictor, revision=revision.name)
    return replace(revised, graph=_rehosted(predictor.graph, revised, sdep))


def _rehosted(node: PredictiveUnit, revised: PredictorSpec, sdep: SeldonDeployment) -> PredictiveUnit:
    shared = service_host(container_service_name(sdep.name, revised, node.name), sdep.namespace)
    endpoint = node.endpoint
    if endpoint is not None and endpoint.service_host == shared:
        own = service_host(revision_service_name(sdep.name, revised, node.name), sdep.namespace)
        endpoint = replace(endpoint, service_host=own)
    return replace(node, endpoint=endpoint, children=tuple(_rehosted(child, revised, sdep) for child in node.children))


def _facts_of(predictor: PredictorSpec, revision: Revision, facts: Facts) -> Facts:
    own = {(predictor.name, node): model for node, model in resolved_models(revision).items()}
    return replace(facts, models={**facts.models, **own})


def resolved_models(revision: Revision) -> dict[str, ResolvedModel]:
    """By node."""
    return {
        item.node: ResolvedModel(
            name=item.name,
            version=item.version,
            digest=item.digest or None,
            source=item.source,
            alias=parse_model_reference(item.uri).alias,
        )
        for item in revision.models
    }
