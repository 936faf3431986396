"""The ClusterRoles that every cluster has for its users: cluster-admin, admin, edit and view, of the built-in kinds. Pure.

As in a cluster, kinds with a definition are in none of the last three.
https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slipway.onebox.api.auth import RBAC
from slipway.onebox.api.resources import Resource

Object = dict[str, Any]
LABEL, AUTOUPDATE = "kubernetes.io/bootstrapping", "rbac.authorization.kubernetes.io/autoupdate"
READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
ROLES = frozenset({"roles", "rolebindings"})
"""Whoever may write these decides who may do what."""
SECRET = frozenset({"secrets"})
"""Whoever reads these has the tokens of service accounts, and with them their rights."""
MADE_BY_OTHERS = frozenset({"events", "endpoints", "endpointslices"})
READABLE = frozenset({"log", "status", "scale"})
WRITABLE = frozenset({"eviction", "scale"})


def first_roles(rows: Iterable[Resource]) -> list[Object]:
    """Of the kinds in ``rows``."""
    kinds = [row for row in rows if row.namespaced and not row.is_custom]
    plain = [row for row in kinds if row.plural not in ROLES | SECRET]
    secret = [row for row in kinds if row.plural in SECRET]
    roles = [row for row in kinds if row.plural in ROLES]
    written = [row for row in [*plain, *secret] if row.plural not in MADE_BY_OTHERS]
    view = [{"apiGroups": [""], "resources": ["namespaces"], "verbs": READ}, *_rules(plain, READ, READABLE)]
    edit = [*view, *_rules(secret, READ, READABLE), *_rules(written, WRITE, WRITABLE)]
    admin = [*edit, *_rules(roles, [*READ, *WRITE], frozenset())]
    everything = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    named = {"cluster-admin": everything, "admin": admin, "edit": edit, "view": view}
    return [_role(name, rules) for name, rules in named.items()]


def is_first(role: Object) -> bool:
    """Is it to be kept as it is here? ``kubectl annotate --overwrite`` with "false" ends that, as in a cluster."""
    meta = role["metadata"]
    is_ours = (meta.get("labels") or {}).get(LABEL) == "rbac-defaults"
    return is_ours and (meta.get("annotations") or {}).get(AUTOUPDATE) == "true"


def _rules(rows: Iterable[Resource], verbs: list[str], below: frozenset[str]) -> list[Object]:
    """A rule for each group."""
    found: dict[str, list[str]] = {}
    for row in rows:
        parts = [f"{row.plural}/{part}" for part in row.all_subresources if part in below]
        found.setdefault(row.group, []).extend([row.plural, *parts])
    return [{"apiGroups": [group], "resources": sorted(names), "verbs": verbs} for group, names in found.items()]


def _role(name: str, rules: list[Object]) -> Object:
    meta = {"name": name, "labels": {LABEL: "rbac-defaults"}, "annotations": {AUTOUPDATE: "true"}}
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules}
