"""The behaviours that have a golden file: what the API holds, by the file's name."""

from __future__ import annotations

from typing import Any

from slipway.onebox.mesh.translate import Objects
from tests.onebox_mesh.world import (
    GATEWAY,
    annotated,
    authentication,
    destination,
    destination_rule,
    gateway,
    item,
    policy,
    service,
    virtual_service,
    world,
)

READY = {"stable": {"127.20.0.1": True}, "canary": {"127.20.0.2": True}}
STABLE_DOWN = {**READY, "stable": {"127.20.0.1": False}}
ALL_DOWN = {"stable": {"127.20.0.1": False}, "canary": {"127.20.0.2": False}}
SHADOWED = {**READY, "dark": {"127.20.0.3": True}}


def _http(*routes: dict[str, Any], hosts: tuple[str, ...] = ("*",), name: str = "yolo", **meta: Any) -> dict[str, Any]:
    return item("VirtualService", name, {"hosts": list(hosts), "gateways": [GATEWAY], "http": list(routes)}, **meta)


def _to(predictor: str = "stable", **more: Any) -> dict[str, Any]:
    return {"route": [{"destination": destination(predictor, 8000)}], **more}


def _uri(**uri: str) -> list[dict[str, Any]]:
    return [{"uri": uri}]


KEYS = '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}'
GUARDED: dict[str, Objects] = {
    "tokens-and-rules": Objects(
        request_authentications=(
            authentication(
                {
                    "issuer": "https://id.example",
                    "jwks": KEYS,
                    "audiences": ["yolo"],
                    "fromHeaders": [{"name": "x-token", "prefix": "Token "}],
                    "fromCookies": ["token"],
                    "forwardOriginalToken": True,
                    "outputClaimToHeaders": [{"header": "x-user", "claim": "sub"}],
                },
                {"issuer": "https://two.example", "jwks": KEYS, "fromParams": ["token"]},
            ),
        ),
        authorization_policies=(
            policy(
                "members",
                {
                    "from": [{"source": {"requestPrincipals": ["https://id.example/*"]}}],
                    "to": [{"operation": {"paths": ["/seldon/*"], "methods": ["POST"], "notHosts": ["*.internal"]}}],
                    "when": [{"key": "request.auth.claims[groups][names]", "values": ["eyes", "a*"]}],
                },
                {"from": [{"source": {"remoteIpBlocks": ["127.0.0.0/8"], "notRequestPrincipals": ["*"]}}]},
            ),
            policy("banned", {"when": [{"key": "request.headers[x-bad]", "values": ["*"]}]}, action="DENY"),
        ),
    ),
    "keys-that-are-fetched": Objects(
        services=(service("keys", {"http": 8080}, cluster_ip="127.96.0.9"),),
        request_authentications=(
            authentication(
                {"issuer": "plain", "jwksUri": "http://id.example/keys?x=1", "timeout": "2s"},
                {"issuer": "service", "jwksUri": "http://keys.default.svc.cluster.local:8080/keys"},
                {"issuer": "address", "jwks_uri": "http://127.0.0.1:9/keys", "timeout": "10m"},
                {"issuer": "both", "jwksUri": "http://id.example/keys", "jwks": KEYS},
                {"jwksUri": "http://several.example/keys"},
            ),
        ),
    ),
    "nobody-and-what-cannot-be-asked": Objects(
        request_authentications=(
            authentication(
                {"issuer": "a", "jwksUri": "https://a.example/keys"},
                {"issuer": "b", "jwks": "{"},
                {"issuer": "e", "jwksUri": "ftp://a.example/keys"},
                {"issuer": "f", "jwksUri": "http://me:secret@a.example/keys"},
                {"issuer": "g", "jwksUri": "http://bad_host/keys"},
                {"issuer": "h"},
                {"issuer": "d", "jwks": '{"keys": [{"kty": "RSA", "n": "?"}, {"kty": 7}]}'},
                {"jwks": KEYS},
            ),
            item("RequestAuthentication", "pods", {"jwtRules": [{"issuer": "c", "jwks": KEYS}]}),
        ),
        authorization_policies=(
            policy("nobody"),
            policy("custom", {}, action="CUSTOM"),
            policy(
                "odd",
                {"from": [{"source": {"principals": ["cluster.local/ns/default/sa/x"]}}]},
                {"to": [{"operation": {"ports": ["80"], "paths": ["/a*b"]}}]},
                {"when": [{"key": "connection.sni", "values": ["x"]}, {"key": "source.ip", "values": ["here"]}]},
                {"from": [{"source": {"requestPrincipals": ["nobody"]}}]},
            ),
            policy("deny-odd", {"when": [{"key": "connection.sni", "values": ["x"]}]}, action="DENY"),
            policy("pods", {}, namespace="default"),
        ),
    ),
}
"""Of these the golden file has the gateway's listener."""

CASES: dict[str, Objects] = {
    "canary-10": world([virtual_service({"stable": 90, "canary": 10})], READY),
    "exact-100-0": world([virtual_service({"stable": 0, "canary": 100})], READY),
    "lone-predictor-weight-0": world([virtual_service({"stable": 0})], {"stable": READY["stable"]}),
    "shadow-40-percent": world([virtual_service({"stable": 75, "canary": 25}, shadow=("dark", 40))], SHADOWED),
    "shadow-all": world([virtual_service({"stable": 0}, shadow=("dark", None))], SHADOWED),
    "unready-gets-nothing": world(
        [virtual_service({"stable": 60, "canary": 30, "third": 10})], {**STABLE_DOWN, "third": {"127.20.0.4": True}}
    ),
    "unready-does-not-raise-a-declared-0": world([virtual_service({"stable": 100, "canary": 0})], STABLE_DOWN),
    "all-unready-never-the-shadow": world(
        [virtual_service({"stable": 90, "canary": 10}, shadow=("dark", None))],
        {**ALL_DOWN, "dark": {"127.20.0.3": True}},
    ),
    "retries-annotated": world(
        [
            virtual_service(
                {"stable": 0},
                retries={"attempts": 5, "perTryTimeout": "2s", "retryOn": "gateway-error,connect-failure,429"},
                timeout="1m30s",
            )
        ],
        READY,
    ),
    "retries-off": world([virtual_service({"stable": 0}, retries={"attempts": 0})], READY),
    "headers-changed": world(
        [
            _http(
                _to(
                    headers={
                        "request": {"set": {"x-team": "eyes"}, "remove": ["cookie"]},
                        "response": {
                            "add": {"x-by": "slipway", "x-http": "%PROTOCOL%", "x-share": "5%", "x-all": "5%%"}
                        },
                    }
                )
            )
        ],
        READY,
    ),
    "rewrites": world(
        [
            _http(
                _to(match=_uri(exact="/inference"), rewrite={"uri": "/api/v1.0/predictions"}),
                _to(match=_uri(prefix="/bare"), rewrite={"uri": "/"}),
                _to(match=_uri(prefix="/deep/"), rewrite={"uri": "/api/", "authority": "yolo.example"}),
                _to(match=_uri(regex="/v[0-9]+/predict"), rewrite={"uri": "/api/v1.0/predictions"}),
                _to(match=_uri(prefix="/re/"), rewrite={"uriRegexRewrite": {"match": "^/re/(.*)$", "rewrite": "/\\1"}}),
            )
        ],
        READY,
    ),
    "matches": world(
        [
            _http(
                _to(match=[{"uri": {"prefix": "/a"}, "ignoreUriCase": True, "method": {"exact": "POST"}}]),
                _to(
                    match=[
                        {
                            "headers": {"x-a": {"regex": "v[12]"}, "x-b": {"prefix": "p"}, "x-c": {}},
                            "withoutHeaders": {"x-d": {"exact": "1"}},
                        }
                    ]
                ),
                _to(match=[{"queryParams": {"debug": {"exact": "1"}}}, {"authority": {"exact": "yolo.example"}}]),
            )
        ],
        READY,
    ),
    "sticky-of-two": world([annotated(virtual_service({"stable": 90, "canary": 10}), sticky="header:x-user")], READY),
    "sticky-keeps-the-buckets-it-has": world(
        [
            annotated(
                virtual_service({"stable": 75, "canary": 25}),
                sticky="cookie:uid",
                buckets="stable=7500,canary=500,stable=2000",
            )
        ],
        READY,
    ),
    "sticky-of-three-lends-the-buckets-of-the-unready": world(
        [
            annotated(
                virtual_service({"stable": 60, "canary": 30, "third": 10}),
                sticky="header:x-user",
                buckets="stable=6000,canary=3000,third=1000",
            )
        ],
        {**READY, "canary": {"127.20.0.2": False}, "third": {"127.20.0.4": True}},
    ),
    "rate-limit": world([annotated(virtual_service({"stable": 90, "canary": 10}), rate_limit="101/m")], READY),
    "annotations-that-cannot-be-read": world(
        [annotated(virtual_service({"stable": 90, "canary": 10}), rate_limit="many", sticky="x-user", typo="1")], READY
    ),
    "faults": world(
        [
            _http(
                _to(match=_uri(prefix="/a"), fault={"delay": {"fixedDelay": "2s", "percentage": {"value": 0.5}}}),
                _to(match=_uri(prefix="/b"), fault={"abort": {"httpStatus": 503}}),
                _to(
                    match=_uri(prefix="/c"), fault={"abort": {"grpcStatus": "unavailable", "percentage": {"value": 10}}}
                ),
                _to(match=_uri(prefix="/d"), fault={"abort": {"httpStatus": 99}, "delay": {"exponentialDelay": "1s"}}),
                _to(match=_uri(prefix="/e"), fault={"abort": {"grpcStatus": "nope"}}),
            )
        ],
        READY,
    ),
    "group-by-header-and-cookie": world(
        [
            _http(
                _to("canary", match=[{"uri": {"prefix": "/a"}, "headers": {"x-group": {"exact": "b"}}}]),
                _to(
                    "canary",
                    match=[{"uri": {"prefix": "/a"}, "headers": {"cookie": {"regex": "(.*;)?[ ]*group=b[ ]*(;.*)?"}}}],
                ),
                _to(match=_uri(prefix="/a")),
            )
        ],
        READY,
    ),
    "order-older-first-catch-all-last": world(
        [
            _http(
                _to("canary", match=_uri(prefix="/x")),
                _to(match=_uri(prefix="/")),
                name="newer",
                creationTimestamp="2026-02-01T00:00:00Z",
            ),
            _http(
                _to("stable", match=_uri(prefix="/")),
                _to(match=_uri(exact="/x")),
                name="older",
                creationTimestamp="2026-01-01T00:00:00Z",
            ),
        ],
        READY,
    ),
    "hosts": world(
        [_http(_to(match=_uri(prefix="/a")), hosts=("yolo.example", "*.wild.example", "else.example"))],
        READY,
        gateways=[gateway(("yolo.example", "istio-system/*.wild.example"))],
    ),
    "destination-rule-policies": world(
        [virtual_service({"stable": 0})],
        READY,
        rules=[
            destination_rule(
                "stable",
                outlierDetection={"consecutive5xxErrors": 3, "interval": "5s"},
                loadBalancer={"simple": "ROUND_ROBIN"},
            ),
            item("DestinationRule", "second", {"host": "yolo-stable"}, creationTimestamp="2027-01-01T00:00:00Z"),
        ],
    ),
    "service-listeners": Objects(
        services=(
            service("node", {"http": 9000, "grpc-predict": 9500, "metrics": 6000}, cluster_ip="127.10.0.1"),
            service("headless", {"http": 9000}),
            service("outside", {"http": 9000}, cluster_ip="10.0.0.7"),
            service("low", {"http": 80}, cluster_ip="127.10.0.2"),
        )
    ),
    "not-supported-is-reported": world(
        [
            _http(
                _to(corsPolicy={"allowOrigins": [{"exact": "*"}]}),
                _to(match=[{"sourceLabels": {"app": "x"}}]),
                {"redirect": {"uri": "/elsewhere"}},
                _to(match=_uri(regex="(?=a)b")),
                _to(match=_uri(regex="(unclosed")),
                {
                    "route": [
                        {"destination": {"host": "nobody"}},
                        {"destination": destination("stable", 7), "weight": -5},
                    ]
                },
                {"route": [{"destination": {**destination("stable", 8000), "subset": "absent"}}]},
                _to(
                    timeout="soon",
                    retries={"retryOn": "a b"},
                    mirror={"host": "nobody"},
                    mirrorPercentage={"value": 101},
                ),
                name="odd",
            ),
            item("VirtualService", "mesh-only", {"hosts": ["*"], "http": []}),
            item("VirtualService", "lost", {"hosts": ["*"], "gateways": ["absent"], "http": []}),
            item("VirtualService", "own", {"hosts": ["*"], "gateways": [GATEWAY], "exportTo": ["."]}),
            item("VirtualService", "all", {"hosts": ["*"], "gateways": [GATEWAY], "exportTo": ["*"]}),
            item("VirtualService", "tls", {"hosts": ["*"], "gateways": [GATEWAY], "tls": [{"match": []}]}),
        ],
        READY,
        rules=[
            destination_rule("stable", tls={"mode": "ISTIO_MUTUAL"}, loadBalancer={"consistentHash": {}}),
            item("DestinationRule", "outside", {"host": "example.com"}),
        ],
        gateways=[
            gateway(),
            item("Gateway", "tls", {"servers": [{"port": {"number": 443, "protocol": "HTTPS"}, "hosts": ["*"]}]}),
        ],
    ),
}
