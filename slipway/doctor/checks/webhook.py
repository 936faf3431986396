"""The validating webhook: whether somebody answers for it, and how long its certificate is good.

An API server looks at the dates of the certificate and of who signed it (RFC 5280, 6.1.3); so does this.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from slipway.doctor.check import Check, Said
from slipway.doctor.checks.installed import QUESTIONS, apply_again
from slipway.doctor.checks.workloads import OF_SERVICE, ready_endpoints
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
MAX_BETWEEN = 4
"""Certificates between the one that is shown and an authority of the bundle; cert-manager may show some."""
RESOURCE = "seldondeployments"
RESTART = f"kubectl -n {SYSTEM} rollout restart deployment/slipway-webhook"


def webhook(facts: Facts) -> Iterable[Said]:
    found = [(obj["metadata"]["name"], hook) for obj in facts.objects(ALL) for hook in _ours(obj)]
    if not found:
        text = "no validating webhook of Slipway: what breaks a rule is stored, and its status says what is wrong"
        yield "warn", "", text, apply_again(facts)
        return
    for name, hook in found:
        service = hook["clientConfig"]["service"]
        if not ready_endpoints(_slices_of(service["name"], facts.objects(SLICES))):
            yield _nobody(name, service, hook.get("failurePolicy", "Fail"))
        bundle = _decoded(hook["clientConfig"].get("caBundle") or "")
        yield _said([_span([each]) for each in _certificates(bundle)], facts.at, f"{name}: caBundle")


def _nobody(name: str, service: Object, policy: str) -> Said:
    text = f"no Pod answers behind {service['namespace']}/{service['name']}"
    repair = f"kubectl -n {SYSTEM} get pods"
    if policy == "Fail":
        return "fail", name, f"{text}: every change of a SeldonDeployment is refused", repair
    return "warn", name, f"{text}: only the definition's own rules are asked", repair


def certificate(facts: Facts) -> Iterable[Said]:
    """Of the pair that the webhook shows, as far as each bundle trusts it."""
    hooks = [hook for obj in facts.objects(ALL) for hook in _ours(obj)]
    if not hooks:
        return
    found = facts.one(PAIR)
    shown = _certificates(_decoded(((found or {}).get("data") or {}).get("tls.crt") or ""))
    bundles = [_certificates(_decoded(hook["clientConfig"].get("caBundle") or "")) for hook in hooks]
    yield from dict.fromkeys(said for bundle in bundles for said in _pair(shown, bundle, facts.at))


def _pair(shown: Sequence[Certificate], trusted: Sequence[Certificate], at: datetime) -> Iterator[Said]:
    where = f"{SYSTEM}/{PAIR.name}"
    own = _said([_span([each]) for each in shown[:1]], at, where)
    if own[0] != "ok" or not trusted:
        yield own
    if own[0] == "fail" or not trusted:  # an empty bundle is told of by itself
        return
    chains = [_span(chain) for chain in _chains(shown[0], shown[1 : 1 + MAX_BETWEEN], trusted)]
    if not chains:
        yield "fail", where, "is signed by none that the caBundle trusts: no review succeeds", RESTART
        return
    whole = _said(chains, at, where)
    if whole[0] == "ok":
        yield whole
    elif whole[0] != own[0]:
        yield whole[0], where, f"the authority that signed it {whole[2]}", RESTART


def _chains(
    certificate: Certificate, between: Sequence[Certificate], trusted: Sequence[Certificate]
) -> Iterator[list[Certificate]]:
    """From ``certificate`` to each authority that is trusted, over those ``between`` that are shown with it."""
    for authority in trusted:
        if authority == certificate or _signed(certificate, authority):
            yield [certificate, authority]
    for link in between:
        if _signed(certificate, link):
            rest = [each for each in between if each != link]
            yield from ([certificate, *chain] for chain in _chains(link, rest, trusted))


def _ours(configuration: Object) -> list[Object]:
    """Hooks for SeldonDeployments that a Service in our namespace answers: Seldon's own is none of ours."""
    return [
        hook
        for hook in configuration.get("webhooks") or ()
        if (hook["clientConfig"].get("service") or {}).get("namespace") == SYSTEM
        and any(RESOURCE in (rule.get("resources") or ()) for rule in hook.get("rules") or ())
    ]


def _slices_of(service: str, slices: Iterable[Object]) -> Iterator[Object]:
    return (obj for obj in slices if (obj["metadata"].get("labels") or {}).get(OF_SERVICE) == service)


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


Span = tuple[datetime, datetime]
"""From when until when something is good."""


def _span(chain: Iterable[Certificate]) -> Span:
    """When all of ``chain`` are good."""
    found = list(chain)
    return max(each.not_valid_before_utc for each in found), min(each.not_valid_after_utc for each in found)


def _said(found: Sequence[Span], at: datetime, where: str) -> Said:
    """Of what is good as long as one of ``found`` is."""
    if not found:
        return "fail", where, "has no certificate: the API server cannot ask the webhook", RESTART
    begun = [ends for begins, ends in found if begins <= at]
    if not begun:
        first = min(begins for begins, _ in found)
        return "fail", where, f"is good from {first:%Y-%m-%d} on only: whose clock was ahead made it", RESTART
    left = max(begun) - at
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
    Check("webhook", webhook, (ALL, SLICES, *QUESTIONS), instead=INSTEAD),
    Check("webhook", certificate, (ALL, PAIR), instead=INSTEAD),
)
