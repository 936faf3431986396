"""Objects as the controller and the runner write them: a SeldonDeployment `yolo` with stable, canary and shadow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway.onebox.mesh.translate import Objects

GATEWAY = "istio-system/seldon-gateway"


def item(kind: str, name: str, spec: Mapping[str, Any], *, namespace: str = "default", **meta: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace, **meta}, "spec": dict(spec)}


def gateway(hosts: Sequence[str] = ("*",), protocol: str = "HTTP") -> dict[str, Any]:
    servers = [{"port": {"number": 80, "name": "http", "protocol": protocol}, "hosts": list(hosts)}]
    return item(
        "Gateway",
        "seldon-gateway",
        {"selector": {"istio": "ingressgateway"}, "servers": servers},
        namespace="istio-system",
    )


def service(name: str, ports: Mapping[str, int], *, cluster_ip: str = "None", deployment: str = "") -> dict[str, Any]:
    listed = [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports.items()]
    labels = {"seldon-deployment-id": deployment} if deployment else {}
    return item("Service", name, {"clusterIP": cluster_ip, "ports": listed}, labels=labels)


def endpoint_slice(name: str, ports: Mapping[str, int], addresses: Mapping[str, bool]) -> dict[str, Any]:
    """``addresses`` → ready; the Pod of the n-th is ``<name>-<n>``."""
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-x", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": port, "port": number} for port, number in ports.items()],
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "name": f"{name}-{index}"},
            }
            for index, (address, ready) in enumerate(addresses.items())
        ],
    }


def pods(name: str, version: str, count: int) -> list[dict[str, Any]]:
    return [item("Pod", f"{name}-{index}", {}, labels={"version": version}) for index in range(count)]


def destination(predictor: str, port: int, sdep: str = "yolo") -> dict[str, Any]:
    return {"host": f"{sdep}-{predictor}.default.svc.cluster.local", "subset": predictor, "port": {"number": port}}


def virtual_service(
    weights: Mapping[str, int], *, sdep: str = "yolo", shadow: tuple[str, float | None] | None = None, **more: Any
) -> dict[str, Any]:
    """The two routes of contract 2.6; ``more`` goes into both, beside `route`."""
    extra: dict[str, Any] = dict(more)
    routes = []
    for port, match, rewrite in (
        (8000, {"uri": {"prefix": f"/seldon/default/{sdep}/"}}, {"rewrite": {"uri": "/"}}),
        (
            5001,
            {
                "uri": {"regex": ".*tensorflow.*|.*seldon.protos.*|.*inference.*"},
                "headers": {"seldon": {"exact": sdep}, "namespace": {"exact": "default"}},
            },
            {},
        ),
    ):
        mirror: dict[str, Any] = {}
        if shadow:
            mirror = {"mirror": destination(shadow[0], port, sdep)}
            if shadow[1] is not None:
                mirror["mirrorPercentage"] = {"value": shadow[1]}
        route = [{"destination": destination(name, port, sdep), "weight": weight} for name, weight in weights.items()]
        routes.append({"match": [match], **rewrite, "route": route, **mirror, **extra})
    return item("VirtualService", sdep, {"hosts": ["*"], "gateways": [GATEWAY], "http": routes})


def authentication(*rules: Mapping[str, Any], name: str = "tokens", **more: Any) -> dict[str, Any]:
    """A RequestAuthentication of the gateway."""
    spec = {"selector": {"matchLabels": {"istio": "ingressgateway"}}, "jwtRules": list(rules), **more}
    return item("RequestAuthentication", name, spec, namespace="istio-system")


def policy(name: str, *rules: Mapping[str, Any], namespace: str = "istio-system", **more: Any) -> dict[str, Any]:
    """An AuthorizationPolicy; ``policy("nobody")`` allows nobody, as an empty one of Istio's does."""
    spec = {
        "selector": {"matchLabels": {"istio": "ingressgateway"}},
        **({"rules": list(rules)} if rules else {}),
        **more,
    }
    return item("AuthorizationPolicy", name, spec, namespace=namespace)


def annotated(obj: Mapping[str, Any], **annotations: str) -> dict[str, Any]:
    """With annotations of ours: ``rate_limit="1/s"`` is ``slipway.dev/rate-limit``."""
    given = {f"slipway.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return {**obj, "metadata": {**obj["metadata"], "annotations": given}}


def destination_rule(predictor: str, *, sdep: str = "yolo", **policy: Any) -> dict[str, Any]:
    pool = {"connectionPool": {"http": {"idleTimeout": "60s"}}}
    spec = {
        "host": f"{sdep}-{predictor}.default.svc.cluster.local",
        "subsets": [{"name": predictor, "labels": {"version": predictor}}],
        "trafficPolicy": {**pool, **policy},
    }
    return item("DestinationRule", f"{sdep}-{predictor}", spec)


def world(
    virtual_services: Iterable[Mapping[str, Any]],
    predictors: Mapping[str, Mapping[str, bool]],
    *,
    sdep: str = "yolo",
    ports: Mapping[str, int] | None = None,
    cluster_ips: Mapping[str, str] | None = None,
    rules: Iterable[Mapping[str, Any]] | None = None,
    gateways: Iterable[Mapping[str, Any]] | None = None,
) -> Objects:
    """Everything behind ``predictors``: name → address → ready. ``ports`` are the Pods' real ones (http, grpc)."""
    targets = ports or {"http": 8000, "grpc": 5001}
    names = {predictor: f"{sdep}-{predictor}" for predictor in predictors}
    return Objects(
        virtual_services=tuple(virtual_services),
        destination_rules=tuple(rules if rules is not None else (destination_rule(name, sdep=sdep) for name in names)),
        gateways=tuple(gateways if gateways is not None else [gateway()]),
        services=tuple(
            service(
                full,
                {"http": 8000, "grpc": 5001},
                cluster_ip=(cluster_ips or {}).get(name, "None"),
                deployment=sdep,
            )
            for name, full in names.items()
        ),
        endpoint_slices=tuple(endpoint_slice(names[name], targets, found) for name, found in predictors.items()),
        pods=tuple(pod for name, found in predictors.items() for pod in pods(names[name], name, len(found))),
    )
