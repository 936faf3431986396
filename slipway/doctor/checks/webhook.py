"""The validating webhook: whether somebody answers for it, and how long its certificate is good."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from slipway.doctor.check import Check, Said
from slipway.doctor.facts import Facts, NotKnown, Object
from slipway.doctor.question import SYSTEM, Question
from slipway.kube.kinds import ENDPOINT_SLICE, SECRET, Kind

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

CONFIGURATION = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)
ALL = Question(CONFIGURATION)
SLICES = Question(ENDPOINT_SLICE, SYSTEM)
PAIR = Question(SECRET, SYSTEM, "slipway-webhook-certificate")
"""What the webhook shows, made by itself or by cert-manager."""
SOON = timedelta(days=7)
"""Both are renewed long before."""
RESOURCE = "seldondeployments"
APPLY = "kubectl apply --server-side -k kubernetes"
RESTART = f"kubectl -n {SYSTEM} rollout restart deployment/slipway-webhook"


def webhook(facts: Facts) -> Iterable[Said]:
    found = [(obj["metadata"]["name"], hook) for obj in facts.objects(ALL) for hook in _ours(obj)]
    if not found:
        text = "no validating webhook of Slipway: what breaks a rule is stored, and its status says what is wrong"
        yield "warn", "", text, APPLY
        return
    for name, hook in found:
        service = hook["clientConfig"]["service"]
        if not _ready(facts.objects(SLICES), service["name"]):
            yield _nobody(name, service, hook.get("failurePolicy", "Fail"))
        bundle = _decoded(hook["clientConfig"].get("caBundle") or "")
        yield _said(_certificates(bundle), facts, f"{name}: caBundle")


def _nobody(name: str, service: Object, policy: str) -> Said:
    text = f"no Pod answers behind {service['namespace']}/{service['name']}"
    repair = f"kubectl -n {SYSTEM} get pods"
    if policy == "Fail":
        return "fail", name, f"{text}: every change of a SeldonDeployment is refused", repair
    return "warn", name, f"{text}: only the definition's own rules are asked", repair


def certificate(facts: Facts) -> Iterable[Said]:
    """Of the pair that the webhook shows."""
    if not [hook for obj in facts.objects(ALL) for hook in _ours(obj)]:
        return
    found = facts.one(PAIR)
    shown = _certificates(_decoded(((found or {}).get("data") or {}).get("tls.crt") or ""))
    yield _said(shown[:1], facts, f"{SYSTEM}/{PAIR.name}")
    trusted = [
        each
        for obj in facts.objects(ALL)
        for hook in _ours(obj)
        for each in _certificates(_decoded(hook["clientConfig"].get("caBundle") or ""))
    ]
    if shown and trusted and not any(_signed(shown[0], each) for each in trusted):
        yield "fail", f"{SYSTEM}/{PAIR.name}", "is signed by none that the caBundle trusts: no review succeeds", RESTART


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


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _certificates(pem: bytes) -> list[Certificate]:
    """Several may stand beside each other while they are renewed; none where it is something else."""
    try:
        from cryptography import x509
    except ImportError as exc:
        raise NotKnown("certificates are not read: the package cryptography is not installed here") from exc
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _said(found: list[Certificate], facts: Facts, where: str) -> Said:
    if not found:
        return "fail", where, "has no certificate: the API server cannot ask the webhook", RESTART
    left = max(one.not_valid_after_utc for one in found) - facts.at
    if left < timedelta():
        return "fail", where, f"ended {-left.days} days ago", RESTART
    if left < SOON:
        return "warn", where, f"ends in {left.days} days, and was not renewed", RESTART
    return "ok", where, f"good for {left.days} days"


def _signed(certificate: Certificate, authority: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


INSTEAD = "the rules are in the API"
CHECKS = (
    Check("webhook", webhook, (ALL, SLICES), instead=INSTEAD),
    Check("webhook", certificate, (ALL, PAIR), instead=INSTEAD),
)
