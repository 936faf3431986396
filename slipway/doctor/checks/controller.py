"""The controller in the cluster: its Pods, its version, and which of them leads."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from slipway import __version__
from slipway.doctor.check import Check, Said
from slipway.doctor.checks.installed import CONTROLLER, QUESTIONS, apply_again
from slipway.doctor.checks.workloads import images_of, place_of, ready_of, tag_of
from slipway.doctor.facts import Facts, Object
from slipway.doctor.question import SYSTEM, Question
from slipway.kube.kinds import LEASE

NAME = "slipway-controller"
THE_DEPLOYMENT = CONTROLLER
THE_LEASE = Question(LEASE, SYSTEM, NAME)
WATCH = f"kubectl -n {SYSTEM} logs deployment/{NAME}"
CLOCKS = timedelta(seconds=30)
"""How far apart this machine's clock and that of the leader may be, on top of the Lease's own time."""


def deployment(facts: Facts) -> Iterable[Said]:
    found = facts.one(THE_DEPLOYMENT)
    if found is None:
        text = (
            f"no Deployment {NAME}: SeldonDeployments are only stored, unless a controller runs outside of the cluster"
        )
        yield "fail", SYSTEM, text, apply_again(facts)
        return
    ready, wanted = ready_of(found)
    if not ready:
        yield "fail", place_of(found), f"none of {wanted} replicas is ready", WATCH
    elif ready < wanted:
        yield "warn", place_of(found), f"{ready} of {wanted} replicas ready", WATCH
    else:
        yield "ok", place_of(found), f"{ready} of {wanted} replicas ready"
    yield from _version(facts, found)


def _version(facts: Facts, found: Object) -> Iterable[Said]:
    tag = tag_of(images_of(found)[0])
    if tag and tag != __version__:
        text = f"the controller is version {tag}, this command {__version__}"
        yield "warn", place_of(found), text, f"{apply_again(facts)}, from the repository at the version that you want"


def lease(facts: Facts) -> Iterable[Said]:
    if facts.one(THE_DEPLOYMENT) is None:
        return
    found = facts.one(THE_LEASE)
    spec = (found or {}).get("spec") or {}
    holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
    where = f"{SYSTEM}/{NAME}"
    if not holder or not renewed:
        yield "fail", where, "nobody holds the Lease, so no controller works", WATCH
        return
    late = facts.at - datetime.fromisoformat(renewed) - timedelta(seconds=spec.get("leaseDurationSeconds") or 0)
    if late > CLOCKS:
        text = f"{holder} led, and has been silent for {late.total_seconds():.0f} s longer than its Lease runs"
        yield "fail", where, text, WATCH
    elif (ahead := datetime.fromisoformat(renewed) - facts.at) > CLOCKS:
        text = f"{holder} renewed its Lease {ahead.total_seconds():.0f} s from now: whether it works is not to be seen"
        yield "warn", where, text, "set the clocks of the nodes and of this machine (NTP)"
    else:
        yield "ok", where, f"{holder} leads"


INSTEAD = "a process: `slipway status` shows it"
CHECKS = (
    Check("controller", deployment, QUESTIONS, instead=INSTEAD),
    Check("controller", lease, (THE_LEASE, THE_DEPLOYMENT), instead=INSTEAD),
)
