"""Roles and their bindings: what Kubernetes refuses of them (pkg/apis/rbac/validation)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import required, unsupported
from slipway.onebox.api.auth import RBAC

Object = dict[str, Any]
SUBJECTS = ("ServiceAccount", "User", "Group")


def check_role(new: Object, old: Object | None) -> Sequence[Cause]:
    """Each rule says what may be done to what; only a ClusterRole is about paths."""
    del old
    is_cluster_wide = new.get("kind") == "ClusterRole"
    rules = enumerate(new.get("rules") or ())
    return [cause for index, rule in rules for cause in _rule(rule, f"rules[{index}]", is_cluster_wide=is_cluster_wide)]


def _rule(rule: Mapping[str, Any], path: str, *, is_cluster_wide: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    if rule.get("nonResourceURLs"):
        if not is_cluster_wide:
            words = "namespaced rules cannot apply to non-resource URLs"
            yield Cause(f"{path}.nonResourceURLs", f"Invalid value: {_go_texts(rule['nonResourceURLs'])}: {words}")
        elif any(rule.get(part) for part in ("apiGroups", "resources", "resourceNames")):
            words = "rules cannot apply to both regular resources and non-resource URLs"
            yield Cause(f"{path}.nonResourceURLs", f"Invalid value: {_go_texts(rule['nonResourceURLs'])}: {words}")
        return
    for part, words in (("apiGroups", "at least one api group"), ("resources", "at least one resource")):
        if not rule.get(part):
            yield required(f"{path}.{part}", f"resource rules must supply {words}")


def check_binding(new: Object, old: Object | None) -> Sequence[Cause]:
    """Which role it is about is one of two kinds, and never changes; its subjects have names."""
    ref = new.get("roleRef") or {}
    if old is not None and ref != old.get("roleRef"):
        shown = f'rbac.RoleRef{{APIGroup:"{ref.get("apiGroup", "")}", Kind:"{ref.get("kind", "")}", Name:"{ref.get("name", "")}"}}'
        return [Cause("roleRef", f"Invalid value: {shown}: cannot change roleRef")]
    is_cluster_wide = new.get("kind") == "ClusterRoleBinding"
    kinds = ("ClusterRole",) if is_cluster_wide else ("Role", "ClusterRole")
    causes = []
    if (group := ref.get("apiGroup") or RBAC) != RBAC:
        causes.append(unsupported("roleRef.apiGroup", group, (RBAC,)))
    if ref.get("kind") not in kinds:
        causes.append(unsupported("roleRef.kind", ref.get("kind") or "", kinds))
    if not ref.get("name"):
        causes.append(required("roleRef.name"))
    for index, subject in enumerate(new.get("subjects") or ()):
        causes += _subject(subject, f"subjects[{index}]", is_cluster_wide=is_cluster_wide)
    return causes


def _subject(subject: Mapping[str, Any], path: str, *, is_cluster_wide: bool) -> Iterator[Cause]:
    if not subject.get("name"):
        yield required(f"{path}.name")
    if subject.get("kind") not in SUBJECTS:
        yield unsupported(f"{path}.kind", subject.get("kind") or "", SUBJECTS)
    elif subject["kind"] == "ServiceAccount":
        if is_cluster_wide and not subject.get("namespace"):
            yield required(f"{path}.namespace")
        if group := subject.get("apiGroup"):
            yield unsupported(f"{path}.apiGroup", group, ("",))
    elif (group := subject.get("apiGroup") or RBAC) != RBAC:
        yield unsupported(f"{path}.apiGroup", group, (RBAC,))


def _go_texts(values: Sequence[str]) -> str:
    return "[]string{" + ", ".join(f'"{value}"' for value in values) + "}"
