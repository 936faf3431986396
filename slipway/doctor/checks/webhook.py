"""The validating webhook: whether somebody answers for it, and how long its certificate is good."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from datetime import timedelta

from slipway.doctor.check import Check, Said
from slipway.doctor.facts import Facts, NotKnown, Object
from slipway.doctor.question import SYSTEM, Question
from slipway.kube.kinds import ENDPOINT_SLICE, Kind

CONFIGURATION = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)
ALL = Question(CONFIGURATION)
SLICES = Question(ENDPOINT_SLICE, SYSTEM)
SOON = timedelta(days=7)
RESOURCE = "seldondeployments"
APPLY = "kubectl apply -k kubernetes"


def webhook(facts: Facts) -> Iterable[Said]:
    found = [(obj["metadata"]["name"], hook) for obj in facts.objects(ALL) for hook in _ours(obj)]
    if not found:
        text = "no validating webhook of Slipway: what breaks a rule is stored, and its status says what is wrong"
        yield "warn", "", text, APPLY
        return
    for name, hook in found:
        service = hook["clientConfig"]["service"]
        ready = _ready(facts.objects(SLICES), service["name"])
        if not ready:
            refused = hook.get("failurePolicy", "Fail") == "Fail"
            effect = "every change of a SeldonDeployment is refused" if refused else "nothing is checked"
            where = f"{service['namespace']}/{service['name']}"
            yield "fail", name, f"no Pod answers behind {where}: {effect}", f"kubectl -n {SYSTEM} get pods"
        yield _certificate(facts, name, hook["clientConfig"].get("caBundle") or "")


def _ours(configuration: Object) -> list[Object]:
    """Hooks for SeldonDeployments that a Service in our namespace answers: Seldon's own is none of ours."""
    return [
        hook
        for hook in configuration.get("webhooks") or ()
        if (hook["clientConfig"].get("service") or {}).get("namespace") == SYSTEM
        and any(RESOURCE in (rule.get("resources") or ()) for rule in hook.get("rules") or ())
    ]


def _ready(slices: Iterable[Object], service: str) -> int:
    return sum(
        (endpoint.get("conditions") or {}).get("ready", True) is not False
        for obj in slices
        if (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service
        for endpoint in obj.get("endpoints") or ()
    )


def _certificate(facts: Facts, name: str, bundle: str) -> Said:
    """Of the authority that the API server trusts; several may stand beside each other while they are renewed."""
    if not bundle:
        return "fail", name, "caBundle is empty: the API server trusts no certificate of it", "restart the controller"
    try:
        from cryptography import x509
    except ImportError as exc:
        raise NotKnown("the certificate is not read: the package cryptography is not installed here") from exc
    try:
        found = x509.load_pem_x509_certificates(base64.b64decode(bundle, validate=True))
    except (binascii.Error, ValueError):
        return "fail", name, "caBundle is no PEM certificate in base64", "restart the controller"
    left = max(one.not_valid_after_utc for one in found) - facts.at
    if left < timedelta():
        return "fail", name, f"the certificate ended {-left.days} days ago", "restart the controller, which renews it"
    if left < SOON:
        return "warn", name, f"the certificate ends in {left.days} days, and was not renewed", "restart the controller"
    return "ok", name, f"the certificate is good for {left.days} days"


CHECKS = (Check("webhook", webhook, (ALL, SLICES), instead="the rules are in the API"),)
