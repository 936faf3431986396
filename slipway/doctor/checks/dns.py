"""Names of Services: graphs, gateways and storage initializers find each other by them."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.doctor.check import Check, Said
from slipway.doctor.facts import Facts
from slipway.doctor.question import KUBE_SYSTEM, Question
from slipway.kube.kinds import POD, SERVICE
from slipway.kube.pods import is_ready

LABEL = "k8s-app=kube-dns"
"""Of CoreDNS and kube-dns alike (kubernetes/kubernetes cluster/addons/dns, k3s, GKE)."""
SERVICES = Question(SERVICE, KUBE_SYSTEM, selector=LABEL)
PODS = Question(POD, KUBE_SYSTEM, selector=LABEL)


def dns(facts: Facts) -> Iterable[Said]:
    services, pods = facts.objects(SERVICES), facts.objects(PODS)
    number = sum(map(is_ready, pods))
    if not services and not pods:
        yield "warn", KUBE_SYSTEM, f"nothing with the label {LABEL}: is another DNS there?"
    elif not number:
        repair = f"kubectl -n {KUBE_SYSTEM} describe pods -l {LABEL}"
        yield "fail", KUBE_SYSTEM, f"none of {len(pods)} DNS Pods is ready: no Service is found by its name", repair
    elif not services:
        yield "warn", KUBE_SYSTEM, f"{number} DNS Pods are ready, but no Service has the label {LABEL}"
    else:
        yield "ok", f"{KUBE_SYSTEM}/{services[0]['metadata']['name']}", f"{number} of {len(pods)} Pods ready"


CHECKS = (Check("dns", dns, (SERVICES, PODS), instead="processes get a table of names"),)
