"""Versions of Kubernetes and of what Slipway works with there."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.doctor.check import Check, Said
from slipway.doctor.checks.controller import THE_DEPLOYMENT
from slipway.doctor.checks.installed import QUESTIONS, add_keda
from slipway.doctor.checks.workloads import arguments_of, parsed, version_of
from slipway.doctor.facts import Facts
from slipway.doctor.question import ISTIO_SYSTEM, Question
from slipway.kube.kinds import DEPLOYMENT

NEEDED = (1, 25)
"""Rules in CEL are on from here (beta)."""
WANTED = (1, 29)
"""The CRD's rules are in CEL, which is stable from here (KEP-2876)."""
ISTIOD = Question(DEPLOYMENT, ISTIO_SYSTEM, selector="app=istiod")
KEDA = Question(DEPLOYMENT, selector="app.kubernetes.io/name=keda-operator")
PROMETHEUS = Question(DEPLOYMENT, selector="app.kubernetes.io/component=prometheus-operator")
CHART_PROMETHEUS = Question(DEPLOYMENT, selector="app=kube-prometheus-stack-operator")
INSTALL_KEDA = "install KEDA: docs/kubernetes.md"
ISTIO_API = ("networking.istio.io/v1", "security.istio.io/v1")


def kubernetes(facts: Facts) -> Iterable[Said]:
    if facts.is_one_machine:
        yield (
            "ok",
            "",
            f"one machine, whose API is as {facts.version.partition('+')[0]}'s; `slipway status` has the rest",
        )
        return
    version = parsed(facts.version)
    if version is None:
        yield "unknown", "", f"the API says it is {facts.version!r}, which is no version of Kubernetes"
    elif version < NEEDED:
        yield "fail", "", f"{facts.version}: the rules of SeldonDeployments need {_text(WANTED)}", "upgrade the cluster"
    elif version < WANTED:
        yield "warn", "", f"{facts.version}: rules in CEL are stable from {_text(WANTED)}", "upgrade the cluster"
    else:
        yield "ok", "", facts.version


def istio(facts: Facts) -> Iterable[Said]:
    install = "install Istio: docs/kubernetes.md"
    if not any(item.startswith("networking.istio.io/") for item in facts.served):
        yield "fail", "", "not installed: nothing brings requests to predictors, or splits traffic", install
        return
    for api in ISTIO_API:
        if not facts.serves(api):
            yield "fail", "", f"{api} is not served, and Slipway writes it: Istio before 1.22", "upgrade Istio"
            return
    deployments = facts.objects(ISTIOD)
    if not deployments:
        yield "warn", ISTIO_SYSTEM, "Istio's kinds are there, but no Deployment with app=istiod is", install
    else:
        yield "ok", ISTIO_SYSTEM, f"istiod {version_of(deployments) or '(image without a tag)'}"


def keda(facts: Facts) -> Iterable[Said]:
    controller = facts.one(THE_DEPLOYMENT)
    uses = controller is not None and "--keda" in arguments_of(controller)
    if not facts.serves("keda.sh/v1alpha1"):
        if uses:
            yield (
                "fail",
                "",
                "the controller has --keda, and KEDA is not installed: no kedaSpec is brought about",
                INSTALL_KEDA,
            )
        else:
            yield "n/a", "", "not installed: kedaSpec is refused by a controller without --keda, hpaSpec works"
        return
    deployments = facts.objects(KEDA)
    if not deployments:
        yield "warn", "", "its kinds are there, but no Deployment of its operator", INSTALL_KEDA
    elif controller is not None and not uses:
        text = "installed, but the controller has no --keda: it refuses kedaSpec"
        yield "warn", "", text, add_keda(facts)
    else:
        yield "ok", deployments[0]["metadata"]["namespace"], f"KEDA {version_of(deployments)}"


def prometheus(facts: Facts) -> Iterable[Said]:
    if not facts.serves("monitoring.coreos.com/v1"):
        yield (
            "n/a",
            "",
            "no Prometheus operator: monitoring/kubernetes has no effect, metrics are shown to whoever asks",
        )
        return
    deployments = [*facts.objects(PROMETHEUS), *facts.objects(CHART_PROMETHEUS)]
    if deployments:
        yield "ok", deployments[0]["metadata"]["namespace"], f"Prometheus operator {version_of(deployments)}"
    else:
        yield "warn", "", "monitoring.coreos.com is served, but no Deployment of the operator was found by its label"


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


CHECKS = (
    Check("kubernetes", kubernetes),
    Check("istio", istio, (ISTIOD,), instead="the mesh is Slipway's own"),
    Check("keda", keda, (KEDA, *QUESTIONS), instead="Slipway's runner and activator do what KEDA does"),
    Check(
        "prometheus", prometheus, (PROMETHEUS, CHART_PROMETHEUS), instead="monitoring/prometheus.yml is for one machine"
    ),
)
