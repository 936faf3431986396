"""Nodes: whether any is ready, which processors they have, and which have a GPU to give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from slipway.doctor.check import Check, Said
from slipway.doctor.facts import Facts, Object
from slipway.doctor.question import Question
from slipway.kube.kinds import NODE
from slipway.kube.pods import is_ready

NODES = Question(NODE)
GPU = "nvidia.com/gpu"
BUILT = "amd64"
"""What `make images` builds where no --platform is said on such a machine."""
ONE_MACHINE = "Pods are processes of this machine"


def ready(facts: Facts) -> Iterable[Said]:
    found = facts.objects(NODES)
    if not found:
        yield "fail", "", "there is no node, so no Pod can run", "add a node to the cluster"
        return
    usable = [node for node in found if is_ready(node) and not (node.get("spec") or {}).get("unschedulable")]
    away = sorted(node["metadata"]["name"] for node in found if node not in usable)
    text = f"{len(usable)} of {len(found)} ready"
    if not usable:
        yield "fail", ", ".join(away), text, f"kubectl describe node {away[0]}"
    elif away:
        yield (
            "warn",
            ", ".join(away),
            f"{text}: the others are not, or are cordoned",
            f"kubectl describe node {away[0]}",
        )
    else:
        yield "ok", "", text


def architectures(facts: Facts) -> Iterable[Said]:
    found = Counter(_architecture(node) for node in facts.objects(NODES))
    if not found:
        return
    text = ", ".join(f"{count} {name}" for name, count in sorted(found.items()))
    if set(found) == {BUILT}:
        yield "ok", "", text
    else:
        repair = (
            "build them for each (`make images PLATFORM=linux/arm64`), or give Pods a nodeSelector kubernetes.io/arch"
        )
        yield "warn", "", f"{text}: images run only on the kind of processor that they were built for", repair


def gpus(facts: Facts) -> Iterable[Said]:
    having = {node["metadata"]["name"]: _gpus(node) for node in facts.objects(NODES) if _gpus(node)}
    if not having:
        yield "n/a", "", f"no node offers {GPU}: manifests that ask for a GPU wait for ever; the others need none"
    else:
        yield "ok", ", ".join(sorted(having)), f"{sum(having.values())} of {GPU} to give"


def _architecture(node: Object) -> str:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return str(
        info.get("architecture") or (node["metadata"].get("labels") or {}).get("kubernetes.io/arch") or "unknown"
    )


def _gpus(node: Object) -> int:
    return int(((node.get("status") or {}).get("allocatable") or {}).get(GPU) or 0)


CHECKS = (
    Check("nodes", ready, (NODES,), instead=ONE_MACHINE),
    Check("architecture", architectures, (NODES,), instead=ONE_MACHINE),
    Check("gpu", gpus, (NODES,), instead=ONE_MACHINE),
)
