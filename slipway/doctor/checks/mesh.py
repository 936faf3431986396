"""Whether Pods of the namespace get a sidecar, and what mutual TLS is then worth."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.doctor.check import Check, Said
from slipway.doctor.facts import Facts, Object
from slipway.doctor.question import ISTIO_SYSTEM, OWN, Question
from slipway.kube.kinds import NAMESPACE, Kind

PEER_AUTHENTICATION = Kind("security.istio.io", "v1", "peerauthentications", "PeerAuthentication")
NAMESPACES = Question(NAMESPACE)
OF_ALL = Question(PEER_AUTHENTICATION, ISTIO_SYSTEM)
OF_OWN = Question(PEER_AUTHENTICATION, OWN)
INJECTION, REVISION, AMBIENT = "istio-injection", "istio.io/rev", "istio.io/dataplane-mode"
NO_NAMESPACE = "there is no such namespace"
PERMISSIVE = "PERMISSIVE"
"""Istio's mode where nothing is said."""


def injection(facts: Facts) -> Iterable[Said]:
    name = facts.namespace
    labels = labels_of(facts)
    if labels is None:
        yield "n/a", name, NO_NAMESPACE
        return
    mode = _mode(facts)
    if labels.get(AMBIENT) == "ambient":
        text = "ambient: there is no sidecar, so EnvoyFilters and per-route policies of Slipway were never tried there"
        yield "warn", name, text, f"kubectl label namespace {name} {AMBIENT}- {INJECTION}=enabled"
    elif gets_sidecar(labels):
        revision = labels.get(REVISION)
        yield "ok", name, f"Pods get a sidecar{f' of {revision}' if revision else ''}; mutual TLS is {mode}"
    else:
        text = "Pods get no sidecar: mutual TLS, and rules of who may call whom, mean nothing there"
        repair = f"kubectl label namespace {name} {INJECTION}=enabled, then restart its Pods"
        if mode == "STRICT":
            yield "fail", name, f"{text}, and mutual TLS is said to be STRICT", repair
        else:
            yield "warn", name, text, repair


def gets_sidecar(labels: Object) -> bool:
    """Of the Pods of a namespace with these labels."""
    asked = labels.get(INJECTION)
    return asked == "enabled" or (asked != "disabled" and bool(labels.get(REVISION)))


def labels_of(facts: Facts) -> Object | None:
    """Of the namespace that is looked at; None where there is none."""
    found = (obj for obj in facts.objects(NAMESPACES) if obj["metadata"]["name"] == facts.namespace)
    return next((obj["metadata"].get("labels") or {} for obj in found), None)


def _mode(facts: Facts) -> str:
    """The namespace's own mode, else that of the whole mesh; what is for some Pods only is not looked at."""
    for question in (OF_OWN, OF_ALL):
        for obj in facts.objects(question):
            spec = obj.get("spec") or {}
            if not spec.get("selector") and (mode := (spec.get("mtls") or {}).get("mode")) not in (None, "UNSET"):
                return str(mode)
    return PERMISSIVE


CHECKS = (Check("mesh", injection, (NAMESPACES, OF_ALL, OF_OWN), instead="all traffic stays on this machine"),)
