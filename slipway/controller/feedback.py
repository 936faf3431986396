"""Feedback is sent once, to whom it is about: a reward that counts twice or elsewhere teaches a router what nobody said.

Istio tries a request again on every route that says nothing else (`defaultHttpRetryPolicy`), so each way that feedback
takes has a route of its own: that of a client's through the gateway, and the executor's to a node in another Pod.
A client's that names the predictor that answered has one to that predictor alone, whatever its percentage is by now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.headers import ANSWERED_BY
from slipway.contract.names import container_service_name, revision_service_name
from slipway.contract.sdep import PredictiveUnit, PredictorSpec, SeldonDeployment
from slipway.controller.meta import ISTIO_NETWORKING, Object, metadata
from slipway.controller.settings import Settings

GRPC_FEEDBACK = r"/seldon\.protos\.\w+/SendFeedback"
NODE_FEEDBACK = "/send-feedback"
"""Of a component; a client meets it where there is no executor (`seldon.io/no-engine`)."""
REST_FEEDBACK = rf"api/v(0\.1|1\.0)/feedback|{NODE_FEEDBACK[1:]}"
ONCE: Object = {"attempts": 0}


def client_rest_route(prefix: str) -> dict[str, Any]:
    """Match, rewrite and retries of a client's REST feedback; ``prefix``: the path before the executor's."""
    place = prefix.replace(".", r"\.")
    return {
        "match": [{"uri": {"regex": f"{place}({REST_FEEDBACK})"}}],
        # a `uri` would take the whole path's place, as a regular expression's match is the whole path
        "rewrite": {"uriRegexRewrite": {"match": f"^{place}", "rewrite": "/"}},
        "retries": dict(ONCE),
    }


def client_grpc_route(callers: Object) -> dict[str, Any]:
    """``callers``: headers that a SeldonDeployment's gRPC requests have."""
    return {"match": [{"uri": {"regex": GRPC_FEEDBACK}, "headers": callers}], "retries": dict(ONCE)}


def is_feedback(route: Mapping[str, Any]) -> bool:
    """Whether ``route``, of those that the controller writes, is a way of feedback: no other is asked once."""
    return route.get("retries") == ONCE


def rewarded(sdep: SeldonDeployment) -> list[PredictorSpec]:
    """Predictors that feedback can name: all that answer. A shadow has answered nobody, and gets no copy of it either.

    None where there is only one predictor, to which everything goes anyway.
    """
    return [predictor for predictor in sdep.predictors if not predictor.shadow] if len(sdep.predictors) > 1 else []


def about(predictor: PredictorSpec) -> Object:
    """Headers of feedback about a reply of ``predictor``, as a VirtualService's match has them."""
    return {ANSWERED_BY: {"exact": predictor.name}}


def node_routes(predictor: PredictorSpec, sdep: SeldonDeployment, settings: Settings) -> list[Object]:
    """A VirtualService for each node of another Pod that takes feedback; one machine's hops are not tried again."""
    if settings.has_own_mesh:
        return []
    return [_virtual_service(host, http, grpc, sdep) for host, http, grpc in _far_nodes(predictor, sdep)]


def _far_nodes(predictor: PredictorSpec, sdep: SeldonDeployment) -> Iterator[tuple[str, int, int]]:
    """Host, REST port and gRPC port of each; a host that the manifest names itself is another's."""
    for node in predictor.graph.walk():
        endpoint = node.endpoint
        if (
            endpoint is not None
            and node.takes_feedback
            and _short(endpoint.service_host) in _own(node, predictor, sdep)
        ):
            yield endpoint.service_host, endpoint.http_port, endpoint.grpc_port


def _own(node: PredictiveUnit, predictor: PredictorSpec, sdep: SeldonDeployment) -> set[str]:
    """Names of the node's Services."""
    names = {container_service_name(sdep.name, predictor, node.name)}
    return names | {revision_service_name(sdep.name, predictor, node.name)} if predictor.revision else names


def _short(host: str) -> str:
    return host.partition(".")[0]


def _virtual_service(host: str, http: int, grpc: int, sdep: SeldonDeployment) -> Object:
    """For callers within the mesh, as it names no gateway. Whatever is no feedback goes as it would without it."""
    routes: list[Object] = []
    for port, feedback in ((http, {"exact": NODE_FEEDBACK}), (grpc, {"regex": GRPC_FEEDBACK})):
        route = [{"destination": {"host": host, "port": {"number": port}}}]
        routes.append({"match": [{"uri": feedback, "port": port}], "route": route, "retries": dict(ONCE)})
        routes.append({"match": [{"port": port}], "route": route})
    spec = {"hosts": [host], "http": routes}
    return {
        "apiVersion": ISTIO_NETWORKING,
        "kind": "VirtualService",
        "metadata": metadata(_short(host), sdep),
        "spec": spec,
    }
