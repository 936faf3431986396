"""The kind SeldonDeployment: whether it is defined, in which versions, and by whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slipway.crd.adoption import affected, differences, helm_release, is_current, is_newer, is_ours
from slipway.doctor.check import Check, Said
from slipway.doctor.facts import Facts, Object
from slipway.doctor.question import Question
from slipway.kube.kinds import CUSTOM_RESOURCE_DEFINITION, SELDON_DEPLOYMENT

NAME = str(SELDON_DEPLOYMENT)
DEFINITION = Question(CUSTOM_RESOURCE_DEFINITION, name=NAME)
DEPLOYMENTS = Question(SELDON_DEPLOYMENT)
INSTALL = "slipway crd install"
NEWER = "use the newer one: docs/admission.md"
MAX_SHOWN = 8
"""Fields; the others are counted."""
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
    elif not is_ours(found):
        yield "warn", NAME, f"{_owner(found)}, served as {', '.join(served)}, and left as it is{_lost(found)}", ADOPT
    elif is_newer(found):
        yield "warn", NAME, "of a newer Slipway than this one, which leaves it as it is", NEWER
    elif not is_current(found):
        yield "warn", NAME, "Slipway's, of another version or changed by hand", INSTALL
    else:
        yield "ok", NAME, f"Slipway's, served as {', '.join(served)}"


def adoption(facts: Facts) -> Iterable[Said]:
    """What would change if our definition took another's place."""
    found = facts.one(DEFINITION)
    if found is None or is_ours(found):
        yield "ok", NAME, "there is no definition of somebody else's whose place Slipway's would take"
        return
    fields = differences(found).dropped_here
    if fields:
        yield "warn", NAME, f"fields that only {_owner(found)} has: {_listed(fields)}"
    objects = facts.objects(DEPLOYMENTS)
    changed = affected(objects)
    for item in changed:
        text = str(item).partition(": ")[2]
        yield "warn", f"{item.namespace}/{item.name}", text, f"slipway get sdep {item.name} -n {item.namespace} -o yaml"
    yield "ok", NAME, f"{len(objects) - len(changed)} of {len(objects)} SeldonDeployments stay as they are"


def _owner(definition: Object) -> str:
    release = helm_release(definition)
    return f"that of the Helm release {release}" if release else "somebody else's"


def _lost(definition: Object) -> str:
    """Fields of ours that it drops from every object that is written."""
    lost = differences(definition).dropped_there
    return f"; it drops {_listed(lost)}" if lost else ""


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - MAX_SHOWN
    return ", ".join(paths[:MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")


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


ADOPTION = Check("adoption", adoption, (DEFINITION, DEPLOYMENTS), instead="the API has the kind built in")
CHECKS = (Check("definition", definition, (DEFINITION, DEPLOYMENTS), instead="the API has the kind built in"),)
