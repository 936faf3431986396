"""The way in: the Gateway, the Pods that it selects, their Service, and the buffers for bodies of 12 MiB.

Envoy skips retries and copies, without a word, for a body that is larger than what it keeps of a request (1 MiB):
EnvoyFilters make that as large as the largest body, at the gateway as the mesh of one machine has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.controller.meta import DEPLOYMENT_ID
from slipway.doctor.check import Check, Said
from slipway.doctor.checks.envoy_filters import FILTERS, Limit, limits, reaches
from slipway.doctor.checks.sample import labels_of_every_pod
from slipway.doctor.checks.workloads import place_of
from slipway.doctor.facts import Facts, Object
from slipway.doctor.question import ISTIO_SYSTEM, OWN, Question
from slipway.kube.kinds import GATEWAY, POD, SERVICE
from slipway.kube.pods import is_ready
from slipway.onebox.mesh.limits import RETRY_BUFFER_BYTES

NAME = "seldon-gateway"
THE_GATEWAY = Question(GATEWAY, ISTIO_SYSTEM, NAME)
PROXIES = Question(POD, selector="istio")
"""Pods of ingress gateways; a Gateway selects among the Pods of all namespaces."""
SERVICES = Question(SERVICE, selector="istio")
OWN_PODS = Question(POD, OWN, selector=DEPLOYMENT_ID)
RETRIED = ("request_body_buffer_limit", "per_request_buffer_limit_bytes")
"""Of an Envoy virtual host or route: what is kept of a request for a retry or a copy
(https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto)."""
TAKEN = ("max_request_bytes",)
"""Of Envoy's buffer filter: a longer body is refused with 413."""
USUAL = {"istio": "ingressgateway"}
"""What the Gateway of istio/base selects."""
AT_GATEWAY, AT_SIDECARS = ("GATEWAY", "ANY"), ("SIDECAR_OUTBOUND", "ANY")
APPLY = "kubectl apply -k istio/overlays/cluster"


def gateway(facts: Facts) -> Iterable[Said]:
    found = facts.one(THE_GATEWAY)
    if found is None:
        yield "fail", f"{ISTIO_SYSTEM}/{NAME}", "not there, and every VirtualService names it", APPLY
        return
    selector = (found.get("spec") or {}).get("selector") or {}
    chosen = _chosen(facts.objects(PROXIES), selector)
    ready = sum(map(is_ready, chosen))
    words = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    where = place_of(found)
    if not chosen:
        repair = (
            f"install Istio's gateway chart with the label {words}, or change spec.selector in istio/base/gateway.yaml"
        )
        yield "fail", where, f"no Pod has the labels {words}: nothing listens", repair
        return
    if not ready:
        namespace = chosen[0]["metadata"]["namespace"]
        repair = f"kubectl -n {namespace} describe pods -l {words}"
        yield "fail", where, f"none of {len(chosen)} gateway Pods ({words}) is ready", repair
        return
    yield (
        "ok" if ready > 1 else "warn",
        where,
        _proxies(ready, len(chosen)),
        "" if ready > 1 else "give it two replicas",
    )
    yield from _address(facts, selector)


def _proxies(ready: int, number: int) -> str:
    return f"{ready} of {number} gateway Pods ready" + ("" if ready > 1 else ": requests are refused while it restarts")


def _address(facts: Facts, selector: Object) -> Iterator[Said]:
    """Of the Services whose Pods the Gateway selects too."""
    for service in facts.objects(SERVICES):
        spec = service.get("spec") or {}
        if not spec.get("selector") or any(
            selector.get(key, value) != value for key, value in spec["selector"].items()
        ):
            continue
        given = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        shown = [str(item.get("ip") or item.get("hostname")) for item in given]
        if spec.get("type") == "LoadBalancer" and not shown:
            repair = "minikube tunnel, a load balancer (MetalLB), or type NodePort"
            yield "warn", place_of(service), "waits for an address from outside", repair
        else:
            yield (
                "ok",
                place_of(service),
                ", ".join(shown) or f"type {spec.get('type', 'ClusterIP')}, no address from outside",
            )


def _chosen(objects: Iterable[Object], selector: Object) -> list[Object]:
    return [obj for obj in objects if selector and selector.items() <= (obj["metadata"].get("labels") or {}).items()]


def buffers(facts: Facts) -> Iterable[Said]:
    """Of the gateway; where it has no Pod yet, of one with the labels alone that the Gateway selects."""
    selector = ((facts.one(THE_GATEWAY) or {}).get("spec") or {}).get("selector") or USUAL
    expected = {"metadata": {"namespace": ISTIO_SYSTEM, "labels": selector}}
    chosen = _chosen(facts.objects(PROXIES), selector) or [expected]
    filters = [obj for obj in facts.objects(FILTERS) if all(reaches(obj, pod) for pod in chosen)]
    kept = limits(filters, AT_GATEWAY, RETRIED)
    if not kept:
        text = "no EnvoyFilter says what the gateway keeps of a request: above 1 MiB there is no retry and no copy"
        yield "fail", ISTIO_SYSTEM, text, APPLY
    yield from _enough(kept, RETRY_BUFFER_BYTES, "larger bodies get no retry and no copy")
    taken = limits(filters, AT_GATEWAY, TAKEN)
    if not taken:
        text = f"no EnvoyFilter bounds the bodies that the gateway takes, {MAX_BODY_BYTES} bytes on one machine"
        yield "warn", ISTIO_SYSTEM, text, APPLY
    yield from _enough(taken, MAX_BODY_BYTES, "photos are refused that a component would take")


def between(facts: Facts) -> Iterable[Said]:
    """Of the sidecars of the namespace; a filter for some of its Pods only is looked at where such Pods are there."""
    filters, effect = facts.objects(FILTERS), "what one Pod sends to another is not retried if it is larger"
    every = {"metadata": {"namespace": facts.namespace, "labels": labels_of_every_pod()}}
    of_all = [obj for obj in filters if reaches(obj, every)]
    kept = limits(of_all, AT_SIDECARS, RETRIED)
    if not kept:
        text = "no EnvoyFilter says what sidecars keep: what one Pod sends to another, above 1 MiB, is not retried"
        yield "warn", facts.namespace, text, APPLY
    yield from _enough(kept, MAX_BODY_BYTES, effect)
    pods = facts.objects(OWN_PODS)
    of_some = [obj for obj in filters if obj not in of_all and any(reaches(obj, pod) for pod in pods)]
    for place, key, value in limits(of_some, AT_SIDECARS, RETRIED):
        if value < MAX_BODY_BYTES:
            text = f"{key} is {value} for some Pods of {facts.namespace}, less than {MAX_BODY_BYTES}: {effect}"
            yield "fail", place, text, f"make it {MAX_BODY_BYTES} in this EnvoyFilter, or take it out"


def _enough(found: Sequence[Limit], least: int, effect: str) -> Iterator[Said]:
    small = [limit for limit in found if limit[2] < least]
    for place, key, value in small:
        yield "fail", place, f"{key} is {value}, less than {least}: {effect}", APPLY
    if found and not small:
        place, key, value = min(found, key=lambda limit: limit[2])
        yield "ok", place, f"{key} is {value}"


INSTEAD = "the mesh is Slipway's own: `slipway status` shows its Envoys"
MADE_SO = "the mesh's Envoys are made with them"
CHECKS = (
    Check("gateway", gateway, (THE_GATEWAY, PROXIES, SERVICES), instead=INSTEAD),
    Check("buffers", buffers, (FILTERS, THE_GATEWAY, PROXIES), instead=MADE_SO),
    Check("buffers", between, (FILTERS, OWN_PODS), instead=MADE_SO),
)
