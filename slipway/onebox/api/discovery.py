"""What kinds there are, in the three ways clients ask: lists, groups, and the aggregated documents."""

from __future__ import annotations

from typing import Any

from slipway.onebox.api.resources import READ, Catalog, Resource

Object = dict[str, Any]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERSION = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+slipway",
    "gitTreeState": "clean",
    "platform": "linux/amd64",
    **dict.fromkeys(("gitCommit", "buildDate", "goVersion", "compiler"), ""),  # of a Go build; typed clients want texts
}
SUBRESOURCE_VERBS = {
    "log": ("get",),
    "eviction": ("create",),
    "binding": ("create",),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "portforward": ("create", "get"),
    "token": ("create",),
    "finalize": ("update",),
}
SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "binding": ("", "v1", "Binding"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
}
CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


def api_versions(address: str) -> Object:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group(catalog: Catalog, name: str) -> Object:
    """The APIGroup; KeyError for one that does not exist."""
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in catalog.groups()[name]]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": versions[0]}


def group_list(catalog: Catalog) -> Object:
    groups = []
    for name in catalog.groups():
        if name:
            entry = group(catalog, name)
            groups.append({key: entry[key] for key in ("name", "versions", "preferredVersion")})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def resource_list(catalog: Catalog, group_name: str, version: str) -> Object:
    """The APIResourceList; KeyError for a version that is not served."""
    serving = catalog.serving(group_name, version)
    if not serving:
        raise KeyError(version)
    resources = []
    for row, _ in serving:
        entry: Object = {
            "name": row.plural,
            "singularName": row.singular or row.kind.lower(),
            "namespaced": row.namespaced,
            "kind": row.kind,
            "verbs": list(CUSTOM_VERBS if row.is_custom else row.verbs),
        }
        entry |= _names(row)
        resources.append({**entry, "storageVersionHash": row.version_hash})
        resources += [_sub_entry(row, name) for name in sorted(row.all_subresources, reverse=row.is_custom)]
    root = {} if not group_name else {"apiVersion": "v1"}
    group_version = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", **root, "groupVersion": group_version, "resources": resources}


def _names(row: Resource) -> Object:
    names: Object = {}
    if row.short_names:
        names["shortNames"] = list(row.short_names)
    if row.categories:
        names["categories"] = list(row.categories)
    return names


def _sub_entry(row: Resource, name: str) -> Object:
    entry: Object = {"name": f"{row.plural}/{name}", "singularName": "", "namespaced": row.namespaced}
    if name in SUBRESOURCE_KINDS:
        kind_group, kind_version, kind = SUBRESOURCE_KINDS[name]
        if kind_group:
            entry |= {"group": kind_group, "version": kind_version}
        entry["kind"] = kind
    else:
        entry["kind"] = row.kind
    return {**entry, "verbs": list(SUBRESOURCE_VERBS.get(name, READ))}


def aggregated(catalog: Catalog, *, core: bool) -> Object:
    """APIGroupDiscoveryList of ``/api`` or ``/apis``."""
    items = []
    for name, versions in catalog.groups().items():
        if (name == "") is not core:
            continue
        meta: Object = {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None}
        entries = [_version_entry(catalog, name, version) for version in versions]
        items.append({"metadata": meta, "versions": entries})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _version_entry(catalog: Catalog, group_name: str, version: str) -> Object:
    resources = []
    for row, _ in catalog.serving(group_name, version):
        custom = row.is_custom
        kind = {
            "group": row.group if custom else "",
            "version": version if custom else "",
            "kind": row.kind,
        }
        entry: Object = {
            "resource": row.plural,
            "responseKind": kind,
            "scope": "Namespaced" if row.namespaced else "Cluster",
            "singularResource": row.singular or row.kind.lower(),
            "verbs": list(CUSTOM_VERBS if custom else row.verbs),
            **_names(row),
        }
        subresources = [_aggregated_sub(name, kind) for name in row.all_subresources]
        if subresources:
            entry["subresources"] = subresources
        resources.append(entry)
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_sub(name: str, kind: Object) -> Object:
    if name in SUBRESOURCE_KINDS:
        group_name, version, kind_name = SUBRESOURCE_KINDS[name]
        kind = {"group": group_name, "version": version if group_name else "", "kind": kind_name}
    return {"subresource": name, "responseKind": kind, "verbs": list(SUBRESOURCE_VERBS.get(name, READ))}


PATHS = ("/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version")


def root_paths(catalog: Catalog) -> Object:
    paths = list(PATHS)
    for name, versions in catalog.groups().items():
        root = f"/apis/{name}" if name else "/api"
        paths += [root, *(f"{root}/{version}" for version in versions)]
    return {"paths": sorted(set(paths))}
