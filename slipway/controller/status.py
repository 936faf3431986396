"""The status of a SeldonDeployment from what is observed (contract section 2.7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from slipway.contract.following import Following
from slipway.contract.names import explainer_name, predictor_service_name, service_host
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.controller.conditions import condition
from slipway.controller.deployments import deployments
from slipway.controller.facts import Facts
from slipway.controller.follow_status import Followers, follow_conditions
from slipway.controller.meta import EXPLAINER
from slipway.controller.plan import ObjectKey
from slipway.controller.readiness import is_ready
from slipway.controller.revisions import revisions_of
from slipway.controller.services import entry_ports
from slipway.controller.traffic import written_weights
from slipway.controller.weights import rests
from slipway.kube.pods import trouble_of

AVAILABLE, CREATING, FAILED = "Available", "Creating", "Failed"
READY = "Ready"
Object = dict[str, Any]


@dataclass(frozen=True)
class Observed:
    """What this SeldonDeployment owns, and the Pods of its Deployments."""

    objects: Mapping[ObjectKey, Object]
    pods: Sequence[Object] = ()

    def of_kind(self, kind: str) -> list[Object]:
        return [obj for (found, _), obj in sorted(self.objects.items()) if found == kind]


def status_of(
    sdep: SeldonDeployment,
    facts: Facts,
    observed: Observed,
    *,
    models: list[Object],
    now: str,
    old: Mapping[str, Any],
    followers: Followers | None = None,
) -> Object:
    """``now`` (RFC 3339) is written only where a condition changes; ``old`` is the present status."""
    followers = followers or Followers()
    whole = facts.settings.defaulted(sdep)
    revisions = {predictor.name: _deployments_by_revision(predictor, whole, facts) for predictor in whole.predictors}
    names = {name: _serving(found, followers.states.get(name)) for name, found in revisions.items()}
    explained_by = {item.name: [explainer_name(sdep.name, item)] for item in whole.predictors if item.explainer}
    parts = {name: [*deployments, *explained_by.get(name, ())] for name, deployments in names.items()}
    ready = {name: _all_ready(deployments, observed) for name, deployments in parts.items()}
    serving = {name: _all_serving(deployments, observed) for name, deployments in names.items()}
    failures = _failures(parts, observed)
    predictors = [{"name": name, "ready": ready[name], **_reason(parts[name], observed)} for name in parts]
    state = AVAILABLE if all(ready.values()) else FAILED if failures else CREATING
    every = {name: [item for group in found.values() for item in group] for name, found in revisions.items()}
    before = old.get("conditions") or []
    explained = replace(followers, states=_explained(followers.states, revisions, observed))
    status: Object = {
        "state": state,
        "observedGeneration": sdep.generation,
        "replicas": _replicas(names, observed),
        "address": {"url": _address(whole)},
        "deploymentStatus": _deployment_status({**every, EXPLAINER: chain(*explained_by.values())}, observed),
        "serviceStatus": _service_status(whole, observed),
        "models": models,
        "predictors": predictors,
        "traffic": {"declared": _declared(whole), "effective": _effective(whole, facts, serving)},
        "split": _split(whole),
        "conditions": sorted(
            [
                *_conditions(observed, predictors, now=now, old=before),
                *follow_conditions(explained, now=now, old=before),
            ],
            key=lambda item: str(item["type"]),
        ),
    }
    if failures:
        status["description"] = "; ".join(failures)
    if explained.states:
        status["following"] = [state.to_json() for _, state in sorted(explained.states.items())]
    if followers.history:
        status["history"] = list(followers.history)
    return status


def _deployments_by_revision(predictor: PredictorSpec, sdep: SeldonDeployment, facts: Facts) -> dict[str, list[str]]:
    """Names of Deployments, the wanted revision first; the only one has no name where nothing is followed."""
    runs = revisions_of(predictor, sdep, facts)
    return {revised.revision: _deployment_names(revised, sdep, own) for revised, own in runs}


def _serving(revisions: Mapping[str, list[str]], state: Following | None) -> list[str]:
    """The Deployments that answer, before the first those that are to."""
    if state is not None and state.serving in revisions:
        return revisions[state.serving]
    return next(iter(revisions.values()))


def _explained(
    states: Mapping[str, Following], revisions: Mapping[str, Mapping[str, list[str]]], observed: Observed
) -> dict[str, Following]:
    """What is known of why a wanted revision does not serve yet; kept while it restarts, until it does."""
    found = {}
    for name, state in states.items():
        why = {} if state.is_settled else _reason(revisions.get(name, {}).get(state.wanted.name, ()), observed)
        found[name] = replace(state, reason=why["reason"], last_error=why["lastError"]) if why else state
    return found


def failed(sdep: SeldonDeployment, description: str, *, now: str, old: Mapping[str, Any]) -> Object:
    """A SeldonDeployment that cannot be reconciled; what runs keeps running and keeps its status, but for ``Ready``."""
    before = {item["type"]: item for item in old.get("conditions") or ()}
    not_ready = condition(READY, value=False, reason=FAILED, message=description, now=now, before=before.get(READY))
    return {
        **old,
        "state": FAILED,
        "description": description,
        "observedGeneration": sdep.generation,
        "conditions": [condition for _, condition in sorted({**before, READY: not_ready}.items())],
    }


def _deployment_names(predictor: PredictorSpec, sdep: SeldonDeployment, facts: Facts) -> list[str]:
    return [obj["metadata"]["name"] for obj in deployments(predictor, sdep, facts) if obj["kind"] == "Deployment"]


def _all_ready(names: Sequence[str], observed: Observed) -> bool:
    found = [observed.objects.get(("Deployment", name)) for name in names]
    return all(deployment is not None and is_ready(deployment) for deployment in found)


def _all_serving(names: Sequence[str], observed: Observed) -> bool:
    """At least one ready Pod in each Deployment, or it may rest: then its share comes to it all the same, and wakes it."""
    return all(_is_serving(name, observed) for name in names)


def _is_serving(name: str, observed: Observed) -> bool:
    deployment = observed.objects.get(("Deployment", name)) or {}
    return (deployment.get("status") or {}).get("readyReplicas", 0) > 0 or rests(name, observed.objects)


def _declared(sdep: SeldonDeployment) -> dict[str, int]:
    live = [predictor for predictor in sdep.predictors if not predictor.shadow]
    if len(live) == 1:
        return {live[0].name: 100}
    return {predictor.name: predictor.traffic for predictor in live}


def _split(sdep: SeldonDeployment) -> str:
    """``stable 80, canary 20, next shadow``: what the column Traffic shows, as a column holds one value."""
    shares = _declared(sdep)
    return ", ".join(f"{each.name} {shares.get(each.name, 'shadow')}" for each in sdep.predictors)


def _effective(sdep: SeldonDeployment, facts: Facts, serving: Mapping[str, bool]) -> dict[str, float]:
    """By the mesh of one machine, or by the weights that are written for Istio."""
    if facts.ready is None:
        return effective(_declared(sdep), serving)
    is_served = any(facts.ready.get(name) and share for name, share in _declared(sdep).items())
    shares = written_weights(sdep, facts) if len(_declared(sdep)) > 1 else _declared(sdep)
    return {name: float(share) if is_served else 0.0 for name, share in shares.items()}


def effective(declared: Mapping[str, int], serving: Mapping[str, bool]) -> dict[str, float]:
    """Percentages as they are now: an unready predictor's share goes to the ready ones in proportion."""
    shares = {name: share if serving.get(name) else 0 for name, share in declared.items()}
    total = sum(shares.values())
    return {name: round(100 * share / total, 1) if total else 0.0 for name, share in shares.items()}


def _replicas(names: Mapping[str, Sequence[str]], observed: Observed) -> int:
    first = next((name for group in names.values() for name in group), "")
    deployment = observed.objects.get(("Deployment", first)) or {}
    return int((deployment.get("status") or {}).get("replicas", 0))


def _address(sdep: SeldonDeployment) -> str:
    predictor = sdep.predictors[0]
    host = service_host(predictor_service_name(sdep.name, predictor), sdep.namespace)
    root = predictor.graph.name
    paths = {"tensorflow": f"/v1/models/{root}:predict", "v2": f"/v2/models/{root}/infer"}
    path = paths.get(sdep.protocol.replace("kfserving", "v2"), "/api/v1.0/predictions")
    return f"http://{host}:{entry_ports(predictor)[0]}{path}"


def _deployment_status(names: Mapping[str, Iterable[str]], observed: Observed) -> Object:
    found = {name: observed.objects.get(("Deployment", name)) for group in names.values() for name in group}
    return {
        name: {
            "replicas": (deployment.get("status") or {}).get("replicas", 0),
            "availableReplicas": (deployment.get("status") or {}).get("availableReplicas", 0),
        }
        for name, deployment in found.items()
        if deployment
    }


def _service_status(sdep: SeldonDeployment, observed: Observed) -> Object:
    explained = {
        explainer_name(sdep.name, item): predictor_service_name(sdep.name, item)
        for item in sdep.predictors
        if item.explainer
    }
    statuses = {}
    for service in observed.of_kind("Service"):
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        ports = {port.get("name", ""): port["port"] for port in service["spec"].get("ports") or ()}
        entry = {"svcName": name}
        for key, port in (("httpEndpoint", "http"), ("grpcEndpoint", "grpc")):
            if port in ports:
                entry[key] = f"{name}.{namespace}:{ports[port]}"
        if name in explained:
            entry["explainerFor"] = explained[name]
        statuses[name] = entry
    return statuses


def _failures(names: Mapping[str, Sequence[str]], observed: Observed) -> list[str]:
    """Deployments that gave up: their Progressing condition is False."""
    sentences = []
    for predictor, group in names.items():
        for name in group:
            conditions = ((observed.objects.get(("Deployment", name)) or {}).get("status") or {}).get(
                "conditions"
            ) or ()
            sentences += [
                f"{predictor}: {name}: {item.get('message') or item.get('reason', '')}"
                for item in conditions
                if item["type"] == "Progressing" and item["status"] == "False"
            ]
    return sentences


def _reason(names: Sequence[str], observed: Observed) -> Object:
    """Why a predictor's Pods are not ready."""
    trouble = trouble_of([pod for pod in observed.pods if (pod["metadata"].get("labels") or {}).get("app") in names])
    return {"reason": trouble.reason, "lastError": trouble.message} if trouble else {}


def _conditions(
    observed: Observed, predictors: Sequence[Object], *, now: str, old: Sequence[Mapping[str, Any]]
) -> list[Object]:
    all_ready = all(item["ready"] for item in predictors)
    trouble = "; ".join(_sentence(item) for item in predictors if not item["ready"])
    has_services = bool(observed.of_kind("Service"))
    has_routes = bool(observed.of_kind("VirtualService"))
    facts: dict[str, tuple[bool, str]] = {
        "DeploymentsReady": (all_ready, "" if all_ready else "Not all deployments are ready"),
        "ServicesReady": (has_services, ""),
        "istioVirtualServicesReady": (has_routes, ""),
    }
    for kind, name in (
        ("HorizontalPodAutoscaler", "HpasReady"),
        ("ScaledObject", "KedaReady"),
        ("PodDisruptionBudget", "PdbsReady"),
    ):
        facts[name] = (True, "" if observed.of_kind(kind) else f"No {kind} defined")
    facts["AmbassadorMappingsReady"] = (True, "No Ambassador mappings defined")
    lacking = sorted(name for name, (value, _) in facts.items() if not value)
    facts[READY] = (not lacking, ", ".join(lacking) and f"Not yet: {', '.join(lacking)}")
    before = {item["type"]: item for item in old}
    return [
        condition(name, value=value, reason=reason, message="" if value else trouble, now=now, before=before.get(name))
        for name, (value, reason) in sorted(facts.items())
    ]


def _sentence(predictor: Mapping[str, Any]) -> str:
    """An unready predictor and what is known of why."""
    known = " ".join(str(predictor[key]) for key in ("reason", "lastError") if predictor.get(key))
    return f"{predictor['name']}: {known or 'starting'}"
