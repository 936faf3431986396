"""What one row of the table of kinds says, and the table itself: found by path, changed by CRDs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.contract.causes import Cause
from slipway.onebox.api.columns import DEFAULT, Column

Object = dict[str, Any]
Schema = Mapping[str, Any]
READ = ("get", "patch", "update")
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def same(obj: Object) -> Object:
    return obj


def nothing(obj: Object) -> None:
    """A rule that changes nothing."""
    del obj


def accept(new: Object, old: Object | None) -> Sequence[Cause]:
    """A rule that refuses nothing."""
    del new, old
    return ()


@dataclass(frozen=True)
class Version:
    """One served version: ``load`` makes the stored form of an object, ``dump`` this version's."""

    name: str
    schema: Schema
    columns: tuple[Column, ...] = DEFAULT
    load: Callable[[Object], Object] = same
    dump: Callable[[Object], Object] = same


@dataclass(frozen=True)
class Scale:
    """Where a kind keeps what its scale sub-resource shows, as dotted paths."""

    spec: str = "spec.replicas"
    status: str = "status.replicas"
    selector: str = ""  # a text; empty where the selector is the LabelSelector at spec.selector


@dataclass(frozen=True)
class Resource:
    """One kind. ``versions`` in order of preference; the first is stored unless ``stored`` says another."""

    group: str
    plural: str
    kind: str
    versions: tuple[Version, ...]
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    scale: Scale | None = None
    subresources: tuple[str, ...] = ()  # further ones, served by code of their own
    selectable: tuple[str, ...] = ()  # besides metadata.name and metadata.namespace
    is_custom: bool = False
    has_generation: bool = False
    name_rule: str = "subdomain"  # or label, path
    needs_version: bool = False  # a PUT without resourceVersion is refused
    default: Callable[[Object], None] = nothing
    prepare: Callable[[Object], None] = nothing  # on creation only
    check: Callable[[Object, Object | None], Sequence[Cause]] = accept
    verbs: tuple[str, ...] = VERBS
    stored_as: str = ""
    stored: str = ""
    rules: bool = False  # the schema has CEL rules, which are not evaluated here

    @property
    def storage(self) -> str:
        return self.stored_as or (f"{self.plural}.{self.group}" if self.group else self.plural)

    @property
    def stored_version(self) -> Version:
        return self.version(self.stored) or self.versions[0]

    def version(self, name: str) -> Version | None:
        return next((version for version in self.versions if version.name == name), None)

    def api_version(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version

    @property
    def known_fields(self) -> tuple[str, ...]:
        base = ("metadata.name", "metadata.namespace") if self.namespaced else ("metadata.name",)
        return (*base, *self.selectable)

    @property
    def all_subresources(self) -> tuple[str, ...]:
        own = (("status",) if self.has_status else ()) + (("scale",) if self.scale else ())
        return (*own, *self.subresources)

    @property
    def version_hash(self) -> str:
        digest = hashlib.sha256(f"{self.group}/{self.stored_version.name}/{self.kind}".encode()).digest()
        return base64.b64encode(digest[:8]).decode()


@dataclass
class Catalog:
    """All kinds by group and plural. ``revision`` changes with every registration: discovery caches by it."""

    _rows: dict[tuple[str, str], Resource] = field(default_factory=dict)
    revision: int = 0

    def register(self, resource: Resource) -> None:
        self._rows[resource.group, resource.plural] = resource
        self.revision += 1

    def unregister(self, group: str, plural: str) -> None:
        if self._rows.pop((group, plural), None):
            self.revision += 1

    def find(self, group: str, version: str, plural: str) -> tuple[Resource, Version] | None:
        resource = self._rows.get((group, plural))
        served = resource.version(version) if resource else None
        return (resource, served) if resource and served else None

    def by_kind(self, group: str, kind: str) -> Resource | None:
        return next((row for row in self._rows.values() if row.group == group and row.kind == kind), None)

    def by_storage(self, storage: str) -> Resource:
        """The row that stores under ``storage``; KeyError when there is none."""
        for row in self._rows.values():
            if row.storage == storage and not row.stored_as:
                return row
        raise KeyError(storage)

    def rows(self) -> list[Resource]:
        return sorted(self._rows.values(), key=lambda row: (row.group, row.plural))

    def groups(self) -> dict[str, list[str]]:
        """Group → its versions, preferred first. The core group is the empty name."""
        result: dict[str, list[str]] = {}
        for row in self.rows():
            versions = result.setdefault(row.group, [])
            versions += [version.name for version in row.versions if version.name not in versions]
        return {group: sorted(versions, key=version_order) for group, versions in result.items()}

    def serving(self, group: str, version: str) -> list[tuple[Resource, Version]]:
        found = [(row, row.version(version)) for row in self.rows() if row.group == group]
        return [(row, served) for row, served in found if served is not None]


def version_order(name: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of preference: v2, v1, v1beta1, v1alpha2, then anything else by name."""
    stem = name.removeprefix("v")
    for rank, word in ((1, "beta"), (2, "alpha")):
        major, found, minor = stem.partition(word)
        if found and major.isdigit() and minor.isdigit():
            return rank, -int(major), -int(minor), ""
    return (0, -int(stem), 0, "") if stem.isdigit() else (3, 0, 0, name)


def digest(values: Iterable[Any]) -> str:
    """An ETag's text."""
    return hashlib.sha512(json.dumps(list(values), sort_keys=True).encode()).hexdigest().upper()
