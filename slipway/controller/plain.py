"""A SeldonDeployment → objects for a cluster that has neither this controller nor Istio.

Its Services, ConfigMaps, Deployments and autoscalers are ``desired``'s own; an Ingress or an HTTPRoute leads to them.
Nobody resolves models or writes a status there: what takes the controller or a mesh is refused, not left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from slipway.contract.annotations import (
    FOLLOW_ALIAS,
    KEEP_PREVIOUS,
    MATCH,
    MAX_REQUESTS,
    OUTLIER_ERRORS,
    RATE_LIMIT,
    STICKY,
    TIMEOUT,
)
from slipway.contract.causes import Cause, with_paths
from slipway.contract.headers import ANSWERED_BY
from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.names import predictor_service_name
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.controller.autoscaling import refused_autoscaling
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.feedback import rewarded
from slipway.controller.meta import Object, metadata
from slipway.controller.services import entry_ports
from slipway.controller.settings import Settings
from slipway.registry import is_model_reference

OF_ISTIO = frozenset({"VirtualService", "DestinationRule"})
OF_A_MESH = (MATCH, MAX_REQUESTS, OUTLIER_ERRORS, RATE_LIMIT, STICKY, TIMEOUT, "seldon.io/istio-retries")
OF_THE_CONTROLLER = (FOLLOW_ALIAS, KEEP_PREVIOUS)
PATIENCE_S = 180
"""For an answer, as the gateway of one machine has it."""
MAX_RULES = 16
"""Of an HTTPRoute (Gateway API 1.6): one by the percentages, the others for feedback to each predictor."""
FEEDBACK = "api/v1.0/feedback"
NGINX = "nginx.ingress.kubernetes.io"


@dataclass(frozen=True)
class Entrance:
    """How requests come in. ``owner``: the class of the Ingress, or ``namespace/name`` of the Gateway of an HTTPRoute."""

    kind: Literal["ingress", "httproute"]
    owner: str
    host: str = ""


def plain(sdep: SeldonDeployment, entrance: Entrance, settings: Settings | None = None) -> list[Object]:
    """Every object of a valid SeldonDeployment that ``refused_plain`` has nothing against, the entrance last."""
    settings = settings or Settings()
    kept = [obj for obj in desired(sdep, Facts(settings)) if obj["kind"] not in OF_ISTIO]
    make = _ingress if entrance.kind == "ingress" else _http_route
    return [without_owner(obj) for obj in (*kept, make(settings.defaulted(sdep), entrance))]


def without_owner(obj: Object) -> Object:
    """``obj`` for an apply by hand: no SeldonDeployment is there that it could go with."""
    meta = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
    return {**obj, "metadata": meta}


def refused_plain(sdep: SeldonDeployment, entrance: Entrance) -> Iterator[Cause]:
    """What of a valid SeldonDeployment the plain form could not carry out."""
    yield from refused_autoscaling(sdep, Settings())
    if entrance.kind == "ingress":
        yield from _refused_splits(sdep)
    elif len(rewarded(sdep)) >= MAX_RULES:
        yield Cause("spec.predictors", f"an HTTPRoute has places for {MAX_RULES - 1} predictors that answer")
    for path, names in _annotations(sdep):
        yield from (Cause(f"{path}[{name}]", "takes a mesh") for name in OF_A_MESH if name in names)
        yield from (Cause(f"{path}[{name}]", "takes the controller") for name in OF_THE_CONTROLLER if name in names)
    for index, predictor in enumerate(sdep.predictors):
        for node, path in with_paths(predictor.graph, f"spec.predictors[{index}].graph"):
            if is_model_reference(node.model_uri) and "@" in node.model_uri:
                why = "each Pod would look an alias up for itself: name the version, models:/name/1"
                yield Cause(f"{path}.modelUri", why)


def _refused_splits(sdep: SeldonDeployment) -> Iterator[Cause]:
    for index, predictor in enumerate(sdep.predictors):
        if index or predictor.shadow:
            what = "a shadow" if predictor.shadow else "a second predictor"
            yield Cause(f"spec.predictors[{index}]", f"an Ingress knows no {what[2:]}: an HTTPRoute does")


def _annotations(sdep: SeldonDeployment) -> Iterator[tuple[str, frozenset[str]]]:
    yield "metadata.annotations", frozenset(sdep.metadata_annotations)
    yield "spec.annotations", frozenset(sdep.annotations)
    for index, predictor in enumerate(sdep.predictors):
        yield f"spec.predictors[{index}].annotations", frozenset(predictor.annotations)


def _prefix(sdep: SeldonDeployment) -> str:
    return f"/seldon/{sdep.namespace}/{sdep.name}/"


def _ingress(sdep: SeldonDeployment, entrance: Entrance) -> Object:
    """REST to the one predictor. Body size and rewriting are annotations of ingress-nginx: no field has them."""
    (predictor,) = sdep.predictors
    notes = {
        f"{NGINX}/proxy-body-size": f"{MAX_BODY_BYTES // 1024**2}m",
        f"{NGINX}/proxy-read-timeout": str(PATIENCE_S),
        f"{NGINX}/rewrite-target": "/$1",
        f"{NGINX}/use-regex": "true",
    }
    port = {"number": entry_ports(predictor)[0]}
    path = {
        "path": f"{_prefix(sdep)}(.*)",
        "pathType": "ImplementationSpecific",
        "backend": {"service": {"name": predictor_service_name(sdep.name, predictor), "port": port}},
    }
    host = {"host": entrance.host} if entrance.host else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(sdep.name, sdep, annotations=notes),
        "spec": {"ingressClassName": entrance.owner, "rules": [{**host, "http": {"paths": [path]}}]},
    }


def _http_route(sdep: SeldonDeployment, entrance: Entrance) -> Object:
    """REST by the percentages, copies to shadows; feedback to whoever answered. How large a body may be is the Gateway's."""
    namespace, _, name = entrance.owner.rpartition("/")
    rewrite = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
    live = [item for item in sdep.predictors if not item.shadow]
    shadows = [item for item in sdep.predictors if item.shadow and item.traffic]
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": _prefix(sdep)}}],
        "filters": [rewrite, *(_copies(item, sdep) for item in shadows)],
        "backendRefs": [{**_backend(item, sdep), "weight": item.traffic} for item in live],
        "timeouts": {"request": f"{PATIENCE_S}s"},
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(sdep.name, sdep),
        "spec": {
            "parentRefs": [{"name": name, **({"namespace": namespace} if namespace else {})}],
            **({"hostnames": [entrance.host]} if entrance.host else {}),
            "rules": [*(_of_feedback(item, sdep) for item in rewarded(sdep)), rule],
        },
    }


def _of_feedback(predictor: PredictorSpec, sdep: SeldonDeployment) -> Object:
    """For feedback about a reply of ``predictor``, which goes to no other."""
    path = {"type": "Exact", "value": f"{_prefix(sdep)}{FEEDBACK}"}
    rewrite = {"path": {"type": "ReplaceFullPath", "replaceFullPath": f"/{FEEDBACK}"}}
    return {
        "matches": [{"path": path, "headers": [{"name": ANSWERED_BY, "value": predictor.name}]}],
        "filters": [{"type": "URLRewrite", "urlRewrite": rewrite}],
        "backendRefs": [_backend(predictor, sdep)],
        "timeouts": {"request": f"{PATIENCE_S}s"},
    }


def _copies(predictor: PredictorSpec, sdep: SeldonDeployment) -> Object:
    mirror = {"backendRef": _backend(predictor, sdep), "percent": predictor.traffic}
    return {"type": "RequestMirror", "requestMirror": mirror}


def _backend(predictor: PredictorSpec, sdep: SeldonDeployment) -> Object:
    return {"name": predictor_service_name(sdep.name, predictor), "port": entry_ports(predictor)[0]}
