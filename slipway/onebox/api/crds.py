"""CustomResourceDefinitions: checked, and turned into rows of the table of kinds. Those of others are files here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slipway.contract.causes import Cause
from slipway.contract.field_causes import quote
from slipway.crd.definition import definition as seldon_deployments
from slipway.onebox.api.columns import custom_columns, get
from slipway.onebox.api.meta_rules import LABEL
from slipway.onebox.api.resources import Resource, Scale, Version, version_order
from slipway.onebox.api.structural import check_schema

Object = dict[str, Any]
FOLDER = Path(__file__).parent / "crds"
CRD_API_VERSION = "apiextensions.k8s.io/v1"


def builtin_crds() -> list[Object]:
    """The CustomResourceDefinitions that exist from the first start."""
    return [seldon_deployments(), *(_crd(yaml.safe_load(path.read_text())) for path in sorted(FOLDER.glob("*.yaml")))]


def _crd(source: Mapping[str, Any]) -> Object:
    versions = [
        {
            "name": name,
            "served": True,
            "storage": index == 0,
            "schema": {"openAPIV3Schema": source["schema"]},
            "subresources": source["subresources"],
            "additionalPrinterColumns": source["columns"],
        }
        for index, name in enumerate(source["versions"])
    ]
    return {
        "apiVersion": CRD_API_VERSION,
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{source['names']['plural']}.{source['group']}"},
        "spec": {"group": source["group"], "scope": source["scope"], "names": source["names"], "versions": versions},
    }


def check_crd(new: Object, old: Object | None, *, taken: Collection[str] = ()) -> Sequence[Cause]:
    """The rules that a definition must keep to be served; it may not replace kinds of the groups ``taken``."""
    del old
    spec, causes = new["spec"], []
    plural, group = get(spec, "names.plural", ""), spec.get("group", "")
    if new["metadata"].get("name") != f"{plural}.{group}":
        shown = quote(new["metadata"].get("name", ""))
        causes.append(Cause("metadata.name", f'Invalid value: {shown}: must be spec.names.plural+"."+spec.group'))
    causes += _check_group(group, taken)
    versions = [version for version in spec.get("versions") or () if isinstance(version, dict)]
    for index, version in enumerate(versions):
        if not get(version, "schema.openAPIV3Schema"):
            field = f"spec.versions[{index}].schema.openAPIV3Schema"
            causes.append(Cause(field, "Required value: schemas are required", "FieldValueRequired"))
            if version.get("selectableFields"):
                message = 'Invalid value: "": selectableFields may only be set when validations.schema is included'
                causes.append(Cause("spec.selectableFields", message))
        causes += check_schema(get(version, "schema.openAPIV3Schema"), f"spec.versions[{index}].schema.openAPIV3Schema")
        if not LABEL.fullmatch(version.get("name", "")):
            shown = quote(version.get("name", ""))
            causes.append(Cause(f"spec.versions[{index}].name", f"Invalid value: {shown}: a DNS label is expected"))
        causes += _check_paths(version, f"spec.versions[{index}]")
    for field in ("plural", "kind"):
        if not get(spec, f"names.{field}"):
            causes.append(Cause(f"spec.names.{field}", "Required value", "FieldValueRequired"))
    if sum(1 for version in versions if version.get("storage")) != 1:
        message = "Invalid value: must have exactly one version marked as storage version"
        causes.append(Cause("spec.versions", message))
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        shown = quote(spec.get("scope", ""))
        message = f'Unsupported value: {shown}: supported values: "Cluster", "Namespaced"'
        causes.append(Cause("spec.scope", message, "FieldValueNotSupported"))
    return causes


def _check_group(group: str, taken: Collection[str]) -> list[Cause]:
    if "." not in group:
        return [Cause("spec.group", f"Invalid value: {quote(group)}: should be a domain with at least one dot")]
    if group in taken:
        return [Cause("spec.group", f"Forbidden: {group} has kinds that are built in", "FieldValueForbidden")]
    return []


def _check_paths(version: Mapping[str, Any], path: str) -> list[Cause]:
    """The JSONPaths of columns and of the scale sub-resource begin with a dot."""
    found = [
        (f"additionalPrinterColumns[{i}].jsonPath", c)
        for i, c in enumerate(version.get("additionalPrinterColumns") or ())
    ]
    texts = [(field, column.get("jsonPath", "")) for field, column in found]
    scale = get(version, "subresources.scale")
    if scale is not None:
        texts += [
            (f"subresources.scale.{name}", scale.get(name, "")) for name in ("specReplicasPath", "statusReplicasPath")
        ]
    return [
        Cause(f"{path}.{field}", f"Invalid value: {quote(text)}: a JSONPath beginning with a dot is expected")
        for field, text in texts
        if not str(text).startswith(".")
    ]


def default_crd(obj: Object) -> None:
    """The names that follow from others."""
    names = obj["spec"].setdefault("names", {})
    names.setdefault("singular", str(names.get("kind", "")).lower())
    names.setdefault("listKind", f"{names.get('kind', '')}List")


def resource_of(crd: Mapping[str, Any], *, meta_schema: Mapping[str, Any]) -> Resource:
    """The row of a definition. ``meta_schema`` is ObjectMeta's."""
    spec = crd["spec"]
    names = spec["names"]
    served = [version for version in spec["versions"] if version.get("served")]
    served.sort(key=lambda version: version_order(version["name"]))
    stored = next(version for version in spec["versions"] if version.get("storage"))
    subresources = stored.get("subresources") or {}
    return Resource(
        spec["group"],
        names["plural"],
        names["kind"],
        tuple(_version(version, meta_schema) for version in served),
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular", ""),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        has_status="status" in subresources,
        scale=_scale(subresources["scale"]) if "scale" in subresources else None,
        selectable=tuple(field["jsonPath"].lstrip(".") for field in stored.get("selectableFields") or ()),
        is_custom=True,
        has_generation=True,
        needs_version=True,
        stored=stored["name"],
        rules=_has_rules(get(stored, "schema.openAPIV3Schema", {})),
    )


def _version(version: Mapping[str, Any], meta_schema: Mapping[str, Any]) -> Version:
    schema = dict(get(version, "schema.openAPIV3Schema", {}))
    base = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": meta_schema}
    schema["properties"] = {**(schema.get("properties") or {}), **base}
    return Version(version["name"], schema, custom_columns(version.get("additionalPrinterColumns") or ()))


def _scale(scale: Mapping[str, Any]) -> Scale:
    return Scale(
        scale["specReplicasPath"].lstrip("."),
        scale["statusReplicasPath"].lstrip("."),
        str(scale.get("labelSelectorPath", "")).lstrip(".") or "-",
    )


def _has_rules(schema: Any) -> bool:
    if isinstance(schema, dict):
        return "x-kubernetes-validations" in schema or any(_has_rules(value) for value in schema.values())
    return isinstance(schema, list) and any(_has_rules(item) for item in schema)


def established_status(crd: Mapping[str, Any], *, now: str) -> Object:
    """The status of a definition that is served."""
    conditions = [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ]
    return {
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
            for kind, reason, message in conditions
        ],
        "acceptedNames": crd["spec"]["names"],
        "storedVersions": [version["name"] for version in crd["spec"]["versions"] if version.get("storage")],
    }
