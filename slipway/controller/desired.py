"""A SeldonDeployment and a few facts → every object that should exist for it."""

from __future__ import annotations

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.autoscaling import autoscaling
from slipway.controller.deployments import deployments
from slipway.controller.explainers import explainers
from slipway.controller.facts import Facts
from slipway.controller.feedback import node_routes
from slipway.controller.meta import Object
from slipway.controller.revisions import revisions_of
from slipway.controller.services import revision_services, services
from slipway.controller.traffic import traffic


def desired(sdep: SeldonDeployment, facts: Facts) -> list[Object]:
    """Services first, so that names resolve before anything starts; traffic last. ``sdep`` is valid, not yet defaulted."""
    whole = facts.settings.defaulted(sdep)
    objects: list[Object] = []
    runs = [run for predictor in whole.predictors for run in revisions_of(predictor, whole, facts)]
    for predictor in whole.predictors:
        objects.extend(services(predictor, whole, revision=facts.selected.get(predictor.name, "")))
    for predictor, _ in runs:
        objects.extend(revision_services(predictor, whole))
        objects.extend(node_routes(predictor, whole, facts.settings))
    for predictor, own in runs:
        objects.extend(deployments(predictor, whole, own))
        objects.extend(autoscaling(predictor, whole, facts.settings))
    return [*objects, *explainers(whole, facts), *traffic(whole, facts)]
