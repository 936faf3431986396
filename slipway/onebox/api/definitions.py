"""Keeps the table of kinds in step with the stored CustomResourceDefinitions."""

from __future__ import annotations

from slipway.onebox.api.auth import RBAC
from slipway.onebox.api.bodies import Parsed
from slipway.onebox.api.crds import builtin_crds, established_status, resource_of
from slipway.onebox.api.first_roles import first_roles, is_first
from slipway.onebox.api.objects import Objects, now_text
from slipway.onebox.api.target import Object, Options, Target
from slipway.onebox.api.types import load_types

STORAGE = "customresourcedefinitions.apiextensions.k8s.io"
FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-system", "slipway-system")
FIRST_MANAGER = "kube-apiserver"


class Definitions:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def start(self) -> None:
        """Serve what is stored; at the first start also make the project's own kinds, the first namespaces and ClusterRoles.

        A definition of ours that differs from the stored one is written over it: the code is its source.
        """
        for crd in builtin_crds():
            self._ensure(crd)
        for crd in self._objects.store.all(STORAGE).values():
            self._register(crd)
        for name in FIRST_NAMESPACES:
            if self._objects.store.get("namespaces", ("", name)) is None:
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                self._objects.create(self._target("", "namespaces"), Parsed(body), Options(FIRST_MANAGER))
        for role in first_roles(self._objects.catalog.rows()):
            self._ensure_role(role)

    def _ensure_role(self, role: Object) -> None:
        name = role["metadata"]["name"]
        target = self._target(RBAC, "clusterroles", name)
        live = self._objects.store.get(target.resource.storage, target.key)
        if live is None:
            self._objects.create(target, Parsed(role), Options(FIRST_MANAGER))
        elif is_first(live) and live.get("rules") != role["rules"]:
            self._objects.replace(target, Parsed(role), Options(FIRST_MANAGER))

    def _target(self, group: str, plural: str, name: str = "") -> Target:
        found = self._objects.catalog.find(group, "v1", plural)
        if found is None:
            raise KeyError(plural)
        return Target(*found, name=name)

    def _ensure(self, crd: Object) -> None:
        name = crd["metadata"]["name"]
        target = self._target("apiextensions.k8s.io", "customresourcedefinitions", name)
        live = self._objects.store.get(STORAGE, ("", name))
        if live is None:
            created = self._objects.create(target, Parsed(crd), Options(FIRST_MANAGER)).obj
            self.established(created)
        elif live["spec"]["versions"] != crd["spec"]["versions"]:
            self._objects.replace(target, Parsed(crd), Options(FIRST_MANAGER))

    def established(self, crd: Object) -> None:
        """Serve a new or changed definition, and say so in its status."""
        self._register(crd)
        key = ("", crd["metadata"]["name"])
        live = self._objects.store.get(STORAGE, key)
        if live is None:
            return
        now = next((c["lastTransitionTime"] for c in (live.get("status") or {}).get("conditions") or ()), now_text())
        status = established_status(live, now=now)
        if live.get("status") != status:
            self._objects.store.put(STORAGE, key, {**live, "status": status})

    def gone(self, crd: Object) -> None:
        """Stop serving a definition and drop its objects."""
        self._objects.catalog.unregister(crd["spec"]["group"], crd["spec"]["names"]["plural"])
        storage = f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
        for key in list(self._objects.store.all(storage)):
            self._objects.store.remove(storage, key)

    def _register(self, crd: Object) -> None:
        self._objects.catalog.register(resource_of(crd, meta_schema=load_types()["ObjectMeta"]))
