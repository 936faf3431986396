"""Nobody grants what he does not hold: Roles and bindings, as Kubernetes' RBAC looks at who writes them.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.contract.field_causes import quote
from slipway.onebox.api.auth import RBAC, Access, Authorizer, User
from slipway.onebox.api.errors import Refused, describe, qualified
from slipway.onebox.api.target import Object, Target

ROLES = ("roles", "clusterroles")
BINDINGS = ("rolebindings", "clusterrolebindings")
MAX_GRANTS = 10_000
"""Single rights of one role that are looked at; whoever would grant more without holding each rule whole is refused."""
MAX_SHOWN = 20
Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Grant:
    """One right: a verb on a resource of a group (``name`` empty: on all of them), or on a path."""

    verb: str
    group: str = ""
    resource: str = ""
    name: str = ""
    path: str = ""


class Escalation:
    """What ``user`` may write into Roles and bindings."""

    def __init__(self, authorizer: Authorizer, user: User) -> None:
        self._authorizer = authorizer
        self._user = user

    def check(self, target: Target, new: Object, old: Object | None) -> None:
        """Refused 403 where rights would be granted that ``user`` has not, 404 where a binding's role is missing."""
        plural = target.resource.plural
        if target.resource.group != RBAC or self._user.is_admin:
            return
        namespace, name = new["metadata"].get("namespace", ""), new["metadata"]["name"]
        if plural in ROLES and (old is None or new.get("rules") != old.get("rules")):
            if not self._may("escalate", plural, namespace, name):
                self._confirm(new.get("rules") or (), target, namespace, name)
        elif plural in BINDINGS and (old is None or _without_meta(new) != _without_meta(old)):
            ref = new.get("roleRef") or {}
            kind = "clusterroles" if ref.get("kind") == "ClusterRole" else "roles"
            if not self._may("bind", kind, namespace, str(ref.get("name", ""))):
                self._confirm(self._authorizer.rules_of(ref, namespace), target, namespace, name)

    def _may(self, verb: str, plural: str, namespace: str, name: str) -> bool:
        return self._authorizer.may(self._user, Access(verb, RBAC, plural, namespace, name))

    def _confirm(self, rules: Sequence[Rule], target: Target, namespace: str, name: str) -> None:
        missing = not_held(rules, list(self._authorizer.rules(self._user, namespace)))
        if not missing:
            return
        user, resource = self._user, target.resource
        groups = " ".join(quote(group) for group in user.groups)
        words = "is attempting to grant RBAC permissions not currently held:"
        raise Refused(
            403,
            f'{qualified(resource.plural, resource.group)} "{name}" is forbidden: '
            f"user {quote(user.name)} (groups=[{groups}]) {words}\n" + "\n".join(missing),
            reason="Forbidden",
            details=describe(name, resource.group, resource.plural),
        )


def not_held(rules: Iterable[Rule], held: Sequence[Rule]) -> list[str]:
    """Those rights of ``rules`` that no rule of ``held`` gives, as Kubernetes prints them; the first MAX_SHOWN."""
    missing: dict[tuple[str, str, str, str], list[str]] = {}
    grants = itertools.islice(_grants(rules, held), MAX_GRANTS + 1)
    for count, grant in enumerate(grants):
        if count == MAX_GRANTS:
            return [f"more than {MAX_GRANTS} single rights: grant them in several roles"]
        if not any(_holds(rule, grant) for rule in held):
            missing.setdefault((grant.group, grant.resource, grant.name, grant.path), []).append(grant.verb)
    shown = sorted(_shown(*what, verbs) for what, verbs in missing.items())
    return shown if len(shown) <= MAX_SHOWN else [*shown[:MAX_SHOWN], f"and {len(shown) - MAX_SHOWN} more"]


def _grants(rules: Iterable[Rule], held: Sequence[Rule]) -> Iterator[Grant]:
    """Single rights, but for rules that are held as they are."""
    for rule in rules:
        if rule in held:
            continue
        for verb, path in itertools.product(rule.get("verbs") or (), rule.get("nonResourceURLs") or ()):
            yield Grant(verb, path=path)
        parts = (rule.get(part) or () for part in ("verbs", "apiGroups", "resources"))
        for verb, group, resource, name in itertools.product(*parts, rule.get("resourceNames") or ("",)):
            yield Grant(verb, group, resource, name)


def _holds(rule: Rule, grant: Grant) -> bool:
    if not _lists(rule, "verbs", grant.verb):
        return False
    if grant.path:
        paths = rule.get("nonResourceURLs") or ()
        return any(
            path in ("*", grant.path) or (path[-1:] == "*" and grant.path.startswith(path[:-1])) for path in paths
        )
    subresource = grant.resource.partition("/")[2]
    names = rule.get("resourceNames")
    return (
        _lists(rule, "apiGroups", grant.group)
        and (
            _lists(rule, "resources", grant.resource)
            or bool(subresource and f"*/{subresource}" in (rule.get("resources") or ()))
        )
        and (not names or grant.name in names)
    )


def _lists(rule: Rule, part: str, value: str) -> bool:
    listed = rule.get(part) or ()
    return "*" in listed or value in listed


def _shown(group: str, resource: str, name: str, path: str, verbs: list[str]) -> str:
    parts = {"NonResourceURLs": [path]} if path else {"APIGroups": [group], "Resources": [resource]}
    if name:
        parts["ResourceNames"] = [name]
    parts["Verbs"] = verbs
    listed = (f"{key}:[{' '.join(quote(value) for value in values)}]" for key, values in parts.items())
    return "{" + ", ".join(listed) + "}"


def _without_meta(binding: Object) -> Object:
    return {key: value for key, value in binding.items() if key != "metadata"}
