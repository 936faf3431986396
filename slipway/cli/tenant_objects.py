"""The objects of ``seldon/team`` → those of one team: its namespace, its share, its people. Nothing here reads or writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from slipway.contract.quantity import parse_quantity

RENDERED = "tenant"
"""The namespace as it stands in ``seldon/team``."""
LABEL = "slipway.dev/tenant"
TAKEN = ("default", "istio-system", "monitoring", "seaweedfs", "jupyterhub")
TAKEN_PREFIXES = ("kube-", "slipway-", "istio-", "cnpg-", "keda", "seldon-system")
ENFORCE = "pod-security.kubernetes.io/enforce"
RESTRICTED, BASELINE, PRIVILEGED = LEVELS = ("restricted", "baseline", "privileged")
"""Of https://kubernetes.io/docs/concepts/security/pod-security-standards/, the strictest first."""
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
RBAC = "rbac.authorization.k8s.io"
OF_PODS = {
    "AuthorizationPolicy": "who may reach a Pod is not asked on one machine",
    "NetworkPolicy": "Pods of one machine share its network",
    "LimitRange": "the runner limits memory by what a container says",
}
"""Kinds that mean nothing on one machine, where the API may know them all the same."""
WITHOUT = {
    (
        "ValidatingAdmissionPolicy",
        "slipway-tenant-hosts",
    ): ", which Kubernetes has from 1.30 on: a team may take any host",
}
"""(Kind, name) → what it means that an API does not serve it."""
Object = dict[str, Any]


class TeamError(ValueError):
    """A team that cannot be: the message says what would be right."""


@dataclass(frozen=True)
class Team:
    """``quota`` changes or adds to ``hard``; ``users`` and ``groups`` are names that the API's log-in gives."""

    name: str
    quota: Mapping[str, str] = field(default_factory=dict)
    users: Sequence[str] = ()
    groups: Sequence[str] = ()
    pod_security: str = PRIVILEGED


def pod_security(asked: str | None, *, has_istio: bool, has_cni: bool, has_policies: bool) -> tuple[str, str]:
    """The level that the namespace enforces, and why it is not ``baseline`` at least, for people.

    Who may start a Pod may otherwise mount the node's disk. What Slipway makes keeps to ``restricted``; sidecars do where
    Istio's values give them a seccomp profile, which nobody sees from outside. Istio's init container needs NET_ADMIN, which
    ``baseline`` refuses; with Istio's CNI plug-in there is no such container. Without it ``seldon/admission`` refuses the
    rest of what ``baseline`` does, where the API carries out admission policies (``has_policies``).
    """
    if asked or not has_istio or has_cni:
        return asked or (BASELINE if has_istio else RESTRICTED), ""
    if has_policies:
        return PRIVILEGED, ""
    return PRIVILEGED, (
        "not enforced, because sidecars need NET_ADMIN here: a Pod of this team may mount its node's disk. "
        "Install Istio's CNI plug-in, or Kubernetes 1.30 or newer, and say this again"
    )


def parse_quota(words: Iterable[str]) -> dict[str, str]:
    """``requests.cpu=16`` each. Raises TeamError."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, amount = word.partition("=")
        if not (name and equals):
            raise TeamError(f"--quota {word}: write NAME=AMOUNT, such as requests.cpu=16")
        if name in found:
            raise TeamError(f"--quota {word}: {name} is given twice")
        _refuse_amount(word, amount)
        found[name] = amount
    return found


def _refuse_amount(word: str, amount: str) -> None:
    try:
        is_amount = parse_quantity(amount) >= 0
    except ValueError:
        is_amount = False
    if not is_amount:
        raise TeamError(f"--quota {word}: {amount!r} is no amount, such as 16, 500m or 64Gi")


def is_taken(name: str) -> bool:
    """The platform's own; with the label, as `default` may have it for MLflow's network policy, it is no team yet."""
    return name in TAKEN or name.startswith(TAKEN_PREFIXES)


def refuse_name(name: str) -> None:
    """Raises TeamError for what is no namespace, or somebody else's."""
    if not NAME.fullmatch(name):
        raise TeamError(f"{name!r}: a team's name is its namespace: a-z, 0-9 and '-' inside, 63 characters at most")
    if is_taken(name):
        raise TeamError(f"{name}: this namespace is the platform's own")


def refuse_foreign(namespace: Mapping[str, Any] | None, name: str) -> None:
    """Raises TeamError for a namespace that is there and is no tenant's: what it has is not ours to fence in or to delete."""
    if namespace is not None and (namespace["metadata"].get("labels") or {}).get(LABEL) != "true":
        raise TeamError(
            f"{name}: there is a namespace of that name which is no tenant's; if it is to become one: "
            f"kubectl label namespace {name} {LABEL}=true"
        )


def objects_of(team: Team, rendered: Iterable[Object]) -> list[Object]:
    """What `slipway tenant add` applies, in the order in which it is given. Raises TeamError."""
    refuse_name(team.name)
    return [_of_team(deepcopy(item), team) for item in rendered]


def _of_team(item: Object, team: Team) -> Object:
    meta = item["metadata"]
    if item["kind"] == "Namespace":
        return {
            **item,
            "metadata": {**meta, "name": team.name, "labels": {**meta["labels"], ENFORCE: team.pod_security}},
        }
    item["metadata"] = {**meta, "namespace": team.name}
    if item["kind"] == "ResourceQuota":
        item["spec"]["hard"] |= team.quota
    if item["kind"] == "RoleBinding":
        item["subjects"] = [*({**one, "namespace": team.name} for one in item["subjects"]), *_people(team)]
    return item


def _people(team: Team) -> Iterator[Object]:
    for kind, names in (("User", team.users), ("Group", team.groups)):
        for name in names:
            yield {"apiGroup": RBAC, "kind": kind, "name": name}


def why_left_out(item: Object, *, is_served: bool, is_one_machine: bool) -> str:
    """Empty where the object is applied."""
    if is_one_machine and item["kind"] in OF_PODS:
        return OF_PODS[item["kind"]]
    means = WITHOUT.get((item["kind"], item["metadata"]["name"]), "")
    return "" if is_served else f"this API does not serve {item['apiVersion']} {item['kind']}{means}"
