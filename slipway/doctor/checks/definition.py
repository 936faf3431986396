"""The kind SeldonDeployment: whether it is defined, in which versions, and by whom."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.doctor.check import Check, Said
from slipway.doctor.facts import Facts, Object
from slipway.doctor.question import Question
from slipway.kube.kinds import CUSTOM_RESOURCE_DEFINITION, SELDON_DEPLOYMENT

NAME = str(SELDON_DEPLOYMENT)
DEFINITION = Question(CUSTOM_RESOURCE_DEFINITION, name=NAME)
DEPLOYMENTS = Question(SELDON_DEPLOYMENT)
INSTALL = "kubectl apply -k kubernetes/crd"
ADOPT = "slipway doctor --adopt-crd lists what would change; Slipway works with this one, too"


def definition(facts: Facts) -> Iterable[Said]:
    found = facts.one(DEFINITION)
    if found is None:
        yield "fail", NAME, "not defined: there are no SeldonDeployments", INSTALL
        return
    served = [item["name"] for item in found["spec"]["versions"] if item.get("served")]
    if "v1" not in served:
        yield "fail", NAME, f"v1 is not served, only {', '.join(served) or 'nothing'}", ADOPT
    elif not _is_established(found):
        yield "fail", NAME, f"defined, but not established: {_trouble(found)}", f"kubectl describe crd {NAME}"
    elif is_ours(found):
        yield "ok", NAME, f"Slipway's, served as {', '.join(served)}"
    else:
        yield (
            "warn",
            NAME,
            f"somebody else's (Seldon Core's?), served as {', '.join(served)}; it is left as it is",
            ADOPT,
        )


def is_ours(definition: Object) -> bool:
    """Ours says so: a label or annotation below ``slipway.dev/``."""
    meta = definition["metadata"]
    names = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
    return any(key.startswith("slipway.dev/") for key in names)


def _is_established(definition: Object) -> bool:
    return any(
        item.get("type") == "Established" and item.get("status") == "True"
        for item in (definition.get("status") or {}).get("conditions") or ()
    )


def _trouble(definition: Object) -> str:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return (
        "; ".join(str(item.get("message")) for item in conditions if item.get("status") == "False")
        or "no reason is said"
    )


CHECKS = (Check("definition", definition, (DEFINITION, DEPLOYMENTS), instead="the API has the kind built in"),)
