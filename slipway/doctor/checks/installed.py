"""Which folder Slipway was installed with, as its Deployments tell: to apply another one would undo what that one says."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.doctor.checks.workloads import arguments_of, images_of
from slipway.doctor.facts import Facts, NotKnown, Object
from slipway.doctor.question import SYSTEM, Question
from slipway.kube.kinds import DEPLOYMENT

CONTROLLER, WEBHOOK = (
    Question(DEPLOYMENT, SYSTEM, "slipway-controller"),
    Question(DEPLOYMENT, SYSTEM, "slipway-webhook"),
)
QUESTIONS = (CONTROLLER, WEBHOOK)
"""What a check has to ask that says how to apply Slipway again."""
OVERLAYS = {
    "--controller-id=slipway": "kubernetes/overlays/beside-seldon-core",
    "--keda": "kubernetes/overlays/keda",
    "--certificate-folder=/etc/slipway-tls": "kubernetes/overlays/cert-manager",
}
"""By the argument that each adds."""
OWN = ("--controller-id", "--keda", "--certificate-folder", "--namespace")
IMAGES = "slipway/"
APPLY = "kubectl apply --server-side -k"


def apply_again(facts: Facts) -> str:
    """The command, with the folder where the repository has it, else with what that folder of yours has to say."""
    said = installed_with(facts)
    if len(said) <= 1 and all(word in OVERLAYS for word in said):
        return f"{APPLY} {OVERLAYS[said[0]] if said else 'kubernetes'}"
    return f"{APPLY} YOURS, the folder that you installed with: {', '.join(said)}"


def add_keda(facts: Facts) -> str:
    """How the controller comes to know of KEDA, and keeps what it was installed with."""
    if not installed_with(facts):
        return f"{APPLY} {OVERLAYS['--keda']}"
    return f"add the component kubernetes/components/keda to what you installed with, then: {apply_again(facts)}"


def installed_with(facts: Facts) -> tuple[str, ...]:
    """What the folder adds to ``kubernetes``: arguments, a registry; empty where it adds nothing that is to be seen."""
    found = (obj for question in QUESTIONS for obj in _there(facts, question))
    return tuple(dict.fromkeys(word for obj in found for word in _additions(obj)))


def _there(facts: Facts, question: Question) -> Iterator[Object]:
    try:
        yield from facts.objects(question)
    except NotKnown:  # the check that asks for it says so
        return


def _additions(deployment: Object) -> Iterator[str]:
    yield from (word for word in arguments_of(deployment) if word.partition("=")[0] in OWN)
    for image in images_of(deployment):
        if not image.removeprefix("docker.io/").startswith(IMAGES):
            yield f"images of {image.rpartition('/' + IMAGES)[0] or image}"
