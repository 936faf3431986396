"""What whoever asks may do, and what the controller may do, as the API's own reviews say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slipway.doctor.check import Check, Said
from slipway.doctor.checks.controller import THE_DEPLOYMENT
from slipway.doctor.checks.installed import QUESTIONS, apply_again
from slipway.doctor.facts import Facts, NotKnown
from slipway.doctor.question import SYSTEM, Permission

SELDON = "machinelearning.seldon.io"
EDIT = ("get", "list", "watch", "create", "update", "patch", "delete")
READ = ("get", "list", "watch")
INSTALLED = (
    ("apiextensions.k8s.io", "customresourcedefinitions", ""),
    ("rbac.authorization.k8s.io", "clusterroles", ""),
    ("rbac.authorization.k8s.io", "clusterrolebindings", ""),
    ("apps", "deployments", SYSTEM),
)
"""(group, resource, namespace) of what installing Slipway creates."""
CONTROLLER = f"system:serviceaccount:{SYSTEM}:slipway-controller"
MADE = ("get", "list", "watch", "create", "patch", "delete")
OF_CONTROLLER = (
    (SELDON, "seldondeployments", ("list", "watch")),
    (SELDON, "seldondeployments/status", ("patch",)),
    (SELDON, "seldondeployments/finalizers", ("update",)),
    ("", "configmaps", MADE),
    ("", "services", MADE),
    ("apps", "deployments", MADE),
    ("autoscaling", "horizontalpodautoscalers", MADE),
    ("policy", "poddisruptionbudgets", MADE),
    ("networking.istio.io", "destinationrules", MADE),
    ("networking.istio.io", "virtualservices", MADE),
    ("", "pods", ("list", "watch", "patch")),
    ("", "namespaces", ("list", "watch")),
    ("", "events", ("get", "create", "patch")),
)
"""(group, resource, verbs) in the whole cluster: the rules of kubernetes/controller/clusterrole.yaml, as a test compares."""
COPIED = "slipway-model-storage"
"""The only Secret that the controller may write."""


def _of_user(namespace: str) -> Sequence[Permission]:
    return (
        *(Permission(verb, SELDON, "seldondeployments", namespace) for verb in EDIT),
        *(Permission(verb, SELDON, "seldondeployments/scale", namespace) for verb in ("get", "update", "patch")),
        *(Permission(verb, "", "pods", namespace) for verb in READ),
        Permission("get", "", "pods/log", namespace),
        Permission("list", "", "events", namespace),
        *(Permission(verb, "apps", "deployments", namespace) for verb in READ),
    )


def _of_installer(_: str) -> Sequence[Permission]:
    return tuple(Permission("create", *place) for place in INSTALLED)


def user(facts: Facts) -> Iterable[Said]:
    wanted = _of_user(facts.namespace)
    missing, unknown = _judged(facts, wanted)
    if missing:
        repair = f"slipway tenant add {facts.namespace} --group YOURS, by an administrator of the cluster"
        yield "fail", facts.namespace, f"you may not: {', '.join(missing)}", repair
    if unknown:
        yield "unknown", facts.namespace, f"whether you may: {unknown}"
    elif not missing:
        yield "ok", facts.namespace, f"you may do everything with SeldonDeployments ({len(wanted)} permissions)"


def installer(facts: Facts) -> Iterable[Said]:
    missing, unknown = _judged(facts, _of_installer(facts.namespace))
    if missing:
        yield "n/a", "", f"you may not install Slipway ({', '.join(missing)}): an administrator of the cluster does"
    elif unknown:
        yield "unknown", "", f"whether you may install Slipway: {unknown}"
    else:
        yield "ok", "", "you may install Slipway"


def _of_controller(_: str) -> Sequence[Permission]:
    everywhere = (
        Permission(verb, group, resource, user=CONTROLLER) for group, resource, verbs in OF_CONTROLLER for verb in verbs
    )
    copies = (Permission(verb, "", "secrets", user=CONTROLLER, name=COPIED) for verb in ("create", "patch"))
    return (*everywhere, *copies)


def controller(facts: Facts) -> Iterable[Said]:
    if facts.one(THE_DEPLOYMENT) is None:
        return
    wanted = _of_controller(facts.namespace)
    missing, unknown = _judged(facts, wanted)
    if missing:
        text = f"the controller may not: {', '.join(missing)}"
        yield "fail", CONTROLLER, text, apply_again(facts)
    if unknown:
        yield "unknown", CONTROLLER, f"whether the controller may: {unknown}"
    elif not missing:
        yield "ok", CONTROLLER, f"the controller may do what it needs ({len(wanted)} permissions)"


def _judged(facts: Facts, wanted: Sequence[Permission]) -> tuple[list[str], str]:
    """(what is refused, what is not known and why): one review without an answer hides no other."""
    missing: list[str] = []
    unknown: dict[str, list[str]] = {}
    for permission in wanted:
        try:
            if not facts.allowed(permission):
                missing.append(str(permission))
        except NotKnown as why:
            unknown.setdefault(str(why), []).append(str(permission))
    return missing, "; ".join(f"{', '.join(names)} ({why})" for why, names in unknown.items())


CHECKS = (
    Check("permissions", user, permissions=_of_user),
    Check("permissions", controller, QUESTIONS, _of_controller, instead="the controller is an administrator"),
    Check("permissions", installer, permissions=_of_installer, instead="`slipway up` brings everything"),
)
