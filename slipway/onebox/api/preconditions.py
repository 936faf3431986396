"""What a request says about the object it means: the version it has seen, and, for an apply, its identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract.causes import Cause
from slipway.onebox.api.errors import Refused, bad_request, conflict, invalid
from slipway.onebox.api.target import Object, Target


def check_version(target: Target, live: Object, meta: Mapping[str, Any], *, required: bool = False) -> None:
    """The optimistic lock: ``meta`` names another resourceVersion or uid than the live object's → 409."""
    resource, wanted = target.resource, str(meta.get("resourceVersion") or "")
    if meta.get("uid") and meta["uid"] != live["metadata"]["uid"]:
        raise conflict(
            resource.plural,
            resource.group,
            target.name,
            f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{target.namespace}/{target.name}, "
            f"ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {meta['uid']}, "
            f"UID in object meta: {live['metadata']['uid']}",
        )
    if wanted and not (wanted.isascii() and wanted.isdigit()):
        raise Refused(500, f'strconv.ParseUint: parsing "{wanted}": invalid syntax')
    if required and wanted in ("", "0"):
        cause = Cause("metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update")
        raise invalid(resource.plural, resource.group, target.name, [cause])
    if wanted not in ("", "0") and wanted != live["metadata"]["resourceVersion"]:
        raise conflict(resource.plural, resource.group, target.name)


def without_version(config: Object) -> Object:
    meta = {key: value for key, value in config["metadata"].items() if key not in ("resourceVersion", "uid")}
    return {**config, "metadata": meta}


def check_config(target: Target, config: Object) -> None:
    api_version, kind = str(config.get("apiVersion") or ""), str(config.get("kind") or "")
    if not api_version or not kind:
        group, _, version = api_version.rpartition("/")
        raise bad_request(f"invalid object type: {group}/{version}, Kind={kind}")
    if kind != target.resource.kind or api_version != target.api_version:
        raise bad_request(
            f"invalid object type: {api_version}, Kind={kind}: {target.api_version}, Kind={target.resource.kind} is expected here"
        )
    meta = config.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise bad_request("metadata must be an object")
    if meta.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    if meta.setdefault("name", target.name) != target.name:
        raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({target.name})")
    if target.resource.namespaced and meta.setdefault("namespace", target.namespace) != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def patch_object_text(target: Target) -> str:
    group_version = f"{target.resource.group}/{target.version.name}"
    return f"(/{target.name}; {group_version}, Kind={target.resource.kind})"
