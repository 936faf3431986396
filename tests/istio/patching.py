"""EnvoyFilters applied to a gateway as Istio makes one, in small: the operations that istio/ uses.

Merging is Istio's own (``pilot/pkg/networking/core/envoyfilter``): fields of messages one by one, lists appended. What an
operation or a place means that is not here is an error, so that a new patch cannot pass unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from scripts.envoy_filters import MANAGER, MANAGER_TYPE, ROUTER

Object = dict[str, Any]
UPSTREAM = "outbound|8000|stable|yolo-stable.default.svc.cluster.local"
RETRIES = {
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
    "retriable_status_codes": [503],
    "num_retries": 2,
}
"""Of every route that says nothing else (Istio's default, route/retry/retry.go)."""


def gateway(port: int, *endpoints: tuple[str, int], admin: str) -> Object:
    """The bootstrap of an ingress gateway with one VirtualService: ``/seldon/default/yolo/`` goes to ``endpoints``."""
    route = {
        "match": {"prefix": "/seldon/default/yolo/"},
        "route": {"cluster": UPSTREAM, "prefix_rewrite": "/", "retry_policy": RETRIES, "timeout": "0s"},
    }
    manager = {
        "@type": MANAGER_TYPE,
        "stat_prefix": "outbound_0.0.0.0_8080",
        "use_remote_address": True,
        "normalize_path": True,
        "route_config": {
            "name": "http.8080",
            "virtual_hosts": [{"name": "*:80", "domains": ["*"], "routes": [route]}],
        },
        "http_filters": [
            {"name": ROUTER, "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}},
        ],
    }
    listener = {
        "name": "0.0.0.0_8080",
        "address": _address("127.0.0.1", port),
        "filter_chains": [{"filters": [{"name": MANAGER, "typed_config": manager}]}],
    }
    members = [{"endpoint": {"address": _address(*endpoint)}} for endpoint in endpoints]
    cluster = {
        "name": UPSTREAM,
        "type": "STATIC",
        "connect_timeout": "10s",
        "load_assignment": {"cluster_name": UPSTREAM, "endpoints": [{"lb_endpoints": members}]},
    }
    return {
        "admin": {"address": {"pipe": {"path": admin}}},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


_TYPES = "type.googleapis.com/envoy.extensions"


def patched(bootstrap: Object, envoy_filters: list[Object], *, context: str = "GATEWAY") -> Object:
    """``bootstrap`` with every patch of the filters for ``context``, in their order."""
    found = deepcopy(bootstrap)
    for item in envoy_filters:
        for change in item["spec"]["configPatches"]:
            if change["match"]["context"] == context:
                _apply(change, found)
    return found


def _apply(change: Object, bootstrap: Object) -> None:
    operation, value = change["patch"]["operation"], deepcopy(change["patch"]["value"])
    match change["applyTo"], operation:
        case "LISTENER", "MERGE":
            _merge_all(bootstrap["static_resources"]["listeners"], value)
        case "CLUSTER", "MERGE":
            _merge_all(bootstrap["static_resources"]["clusters"], value)
        case "VIRTUAL_HOST", "MERGE":
            _merge_all([host for item in _managers(bootstrap) for host in item["route_config"]["virtual_hosts"]], value)
        case "NETWORK_FILTER", "MERGE":
            assert value["typed_config"].pop("@type") == MANAGER_TYPE
            _merge_all(list(_managers(bootstrap)), value["typed_config"])
        case "HTTP_FILTER", "INSERT_FIRST":
            for item in _managers(bootstrap):
                item["http_filters"].insert(0, value)
        case "HTTP_FILTER", "INSERT_BEFORE":
            assert change["match"]["listener"]["filterChain"]["filter"]["subFilter"]["name"] == ROUTER
            for item in _managers(bootstrap):
                item["http_filters"].insert(-1, value)
        case unknown:
            raise NotImplementedError(unknown)


def _managers(bootstrap: Object) -> Iterator[Object]:
    for listener in bootstrap["static_resources"]["listeners"]:
        for chain in listener["filter_chains"]:
            yield from (item["typed_config"] for item in chain["filters"] if item["name"] == MANAGER)


def _merge_all(targets: list[Object], value: Mapping[str, Any]) -> None:
    assert targets
    for target in targets:
        _merge(target, value)


def _merge(target: Object, value: Mapping[str, Any]) -> None:
    for key, item in value.items():
        if isinstance(item, dict) and isinstance(target.get(key), dict):
            _merge(target[key], item)
        elif isinstance(item, list):
            target[key] = [*target.get(key, []), *deepcopy(item)]
        else:
            target[key] = deepcopy(item)


def _address(host: str, port: int) -> Object:
    return {"socket_address": {"address": host, "port_value": port}}
