"""Creating, changing and reading objects: the one generic store behind every kind.

A write is: decode, defaults, ownership, rules, one store write. All of it runs between two awaits of the event loop,
so read-modify-write needs no locks. The file is long because create, update and apply share one write path.
"""

from __future__ import annotations

import copy
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any

from slipway.contract.causes import Cause
from slipway.kube.fields_v1 import EMPTY, FieldSet
from slipway.onebox.api.addresses import ClusterAddresses
from slipway.onebox.api.bodies import Parsed, checked_fields, typed_object
from slipway.onebox.api.checks import Guard, Review, check_object, unguarded
from slipway.onebox.api.errors import Refused, already_exists, bad_request, describe, invalid, not_found, qualified
from slipway.onebox.api.fields import DuplicateKey
from slipway.onebox.api.meta_rules import finalizer_warnings
from slipway.onebox.api.ownership import (
    Entry,
    Writer,
    after_update,
    apply_configuration,
    limit_managers,
    load_entries,
    render_entries,
    same_but_times,
)
from slipway.onebox.api.preconditions import check_config, check_version, patch_object_text, without_version
from slipway.onebox.api.resources import Catalog
from slipway.onebox.api.schema import add_defaults, normalize, zero
from slipway.onebox.api.store import Store
from slipway.onebox.api.target import Object, Options, Target
from slipway.onebox.api.types import load_types
from slipway.onebox.settings import CLUSTER_NETWORKS

NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
GENERATED_CHARS = 5
GENERATE_TRIES = 8
FIXED_META = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Outcome:
    """An answered write: ``removed`` where the write let go of the last finalizer."""

    obj: Object
    created: bool = False
    warnings: tuple[str, ...] = ()
    removed: bool = False


class Objects:
    """``reviews``: admission by storage name, after the schema. ``network``: where Services get their addresses."""

    def __init__(
        self, store: Store, catalog: Catalog, *, reviews: Mapping[str, Review], network: IPv4Network = CLUSTER_NETWORKS
    ) -> None:
        self.store = store
        self.catalog = catalog
        self._reviews = reviews
        self._addresses = ClusterAddresses(store, network)
        self._guard: Guard = unguarded

    def guarded(self, guard: Guard) -> Objects:
        """These, where ``guard`` may refuse what is about to be written: the target, the new object, the old one or None."""
        view = copy.copy(self)
        view._guard = guard  # noqa: SLF001  - of this class
        return view

    # -- reading

    def get(self, target: Target) -> Object:
        """The object in the target's version. Refused 404."""
        return self.shown(target, self.stored(target))

    def stored(self, target: Target) -> Object:
        obj = self.store.get(target.resource.storage, target.key)
        if obj is None:
            raise not_found(self._plural(target), target.resource.group, target.name)
        return obj

    def shown(self, target: Target, stored: Object) -> Object:
        """A stored object in the target's version."""
        shown = target.version.dump(stored)
        if target.resource.stored_as:  # another group's form of the same object
            shown = dict(normalize(target.version.schema, shown))
        return {**shown, "apiVersion": target.api_version, "kind": target.resource.kind}

    def _to_stored(self, target: Target, obj: Object) -> Object:
        resource = target.resource
        if not resource.stored_as:
            return {**target.version.load(obj), "apiVersion": resource.api_version(resource.stored_version.name)}
        home = self.catalog.by_storage(resource.storage)
        loaded = dict(normalize(home.stored_version.schema, target.version.load(obj)))
        return {**loaded, "apiVersion": home.api_version(home.stored_version.name), "kind": home.kind}

    @staticmethod
    def _plural(target: Target) -> str:
        scale = target.subresource == "scale" and not target.resource.is_custom
        return f"{target.resource.plural}/scale" if scale else target.resource.plural

    # -- creating

    def create(self, target: Target, parsed: Parsed, options: Options) -> Outcome:
        obj, warnings = typed_object(target, parsed, options)
        writer = Writer(options.manager, "Update", target.api_version)
        return self._create(target, obj, options, warnings=warnings, writer=writer)

    def _create(
        self,
        target: Target,
        obj: Object,
        options: Options,
        *,
        warnings: Sequence[str],
        writer: Writer,
        entries: list[Entry] | None = None,
    ) -> Outcome:
        resource, meta = target.resource, obj["metadata"]
        self._place(target, meta)
        warnings = [*warnings, *(finalizer_warnings(meta) if resource.is_custom else ())]
        if meta.get("resourceVersion"):
            raise Refused(500, "resourceVersion should not be set on objects to be created")
        for name in (*FIXED_META, "managedFields", "resourceVersion"):
            if name != "generation" or resource.has_generation:
                meta.pop(name, None)
        self._name(target, meta)
        if resource.has_status:
            obj.pop("status", None)
        obj = self._completed(target, obj)
        meta = obj["metadata"]
        now = now_text()
        if entries is None:
            blank = {} if resource.is_custom else zero(target.version.schema)
            ignored = self._ignored(target)
            entries = after_update(
                [], schema=target.version.schema, old=blank, new=obj, writer=writer, ignored=ignored, now=now
            )
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now}
        if resource.has_generation:
            meta["generation"] = 1
        resource.prepare(obj)
        self._set_entries(obj, entries)
        self._addresses.allocate(resource, obj, dry_run=options.dry_run)
        obj = self._normalized(target, obj)
        self._guard(target, obj, None)
        check_object(target, obj, None, review=self._reviews.get(resource.storage))
        key = (meta.get("namespace", ""), meta["name"])
        live = self.store.get(resource.storage, key)
        if live is not None:
            ending = bool(live["metadata"].get("deletionTimestamp"))
            raise already_exists(resource.plural, resource.group, meta["name"], is_ending=ending)
        stored = self._to_stored(target, obj)
        if not options.dry_run:
            stored = self.store.put(resource.storage, key, stored)
        return Outcome(self.shown(target, stored), created=True, warnings=tuple(warnings))

    def _place(self, target: Target, meta: Object) -> None:
        """Put the object into the request's namespace, which must exist and not be ending."""
        if not target.resource.namespaced:
            meta.pop("namespace", None)
            return
        if meta.get("namespace", target.namespace) != target.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        meta["namespace"] = target.namespace
        namespace = self.store.get("namespaces", ("", target.namespace))
        if namespace is None:
            raise not_found("namespaces", "", target.namespace)
        if namespace["metadata"].get("deletionTimestamp"):
            raise self._terminating(target, meta.get("name", ""))

    @staticmethod
    def _terminating(target: Target, name: str) -> Refused:
        why = "because it is being terminated"
        message = f"unable to create new content in namespace {target.namespace} {why}"
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {target.namespace} is being terminated",
            "field": "metadata.namespace",
        }
        details = describe(name, target.resource.group, target.resource.plural)
        details["causes"] = [cause]
        shown = qualified(target.resource.plural, target.resource.group)
        return Refused(403, f'{shown} "{name}" is forbidden: {message}', reason="Forbidden", details=details)

    def _name(self, target: Target, meta: Object) -> None:
        resource = target.resource
        if meta.get("name"):
            return
        if not meta.get("generateName"):
            cause = Cause("metadata.name", "Required value: name or generateName is required", "FieldValueRequired")
            raise invalid(resource.kind, resource.group, "", [cause])
        for _ in range(GENERATE_TRIES):
            suffix = "".join(secrets.choice(NAME_LETTERS) for _ in range(GENERATED_CHARS))
            meta["name"] = meta["generateName"][: 63 - GENERATED_CHARS] + suffix
            if self.store.get(resource.storage, (meta.get("namespace", ""), meta["name"])) is None:
                return

    # -- changing

    def replace(self, target: Target, parsed: Parsed, options: Options) -> Outcome:
        """PUT of the whole object or its status."""
        obj, warnings = typed_object(target, parsed, options)
        meta = obj["metadata"]
        if meta.get("name", target.name) != target.name:
            raise bad_request(
                f"the name of the object ({meta['name']}) does not match the name on the URL ({target.name})"
            )
        if meta.get("namespace", target.namespace) != target.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        live = self.stored(target)
        check_version(target, live, meta, required=target.resource.needs_version)
        return self.update(target, live, obj, options, warnings=warnings)

    def update(
        self, target: Target, live: Object, obj: Object, options: Options, *, warnings: Sequence[str] = ()
    ) -> Outcome:
        """Write ``obj`` over ``live`` as an Update of the options' manager."""
        shown = self.shown(target, live)
        given = obj["metadata"].get("managedFields")
        entries = load_entries(obj if given is not None else live)
        obj = self._completed(target, obj)
        writer = Writer(options.manager, "Update", target.api_version, target.subresource)
        entries = after_update(
            entries,
            schema=target.version.schema,
            old=shown,
            new=obj,
            writer=writer,
            ignored=self._ignored(target),
            now=now_text(),
        )
        return self._store(target, live, obj, limit_managers(entries), options, warnings=warnings)

    def apply(self, target: Target, config: Object, options: Options) -> Outcome:
        """Server-side apply of a decoded configuration; creates the object where there is none."""
        check_config(target, config)
        config, unknown = checked_fields(target, config)
        if unknown:
            shown = patch_object_text(target)
            fields = "\n".join(f".{path}: field not declared in schema" for path in unknown)
            raise Refused(500, f"failed to create typed patch object {shown}: {fields}")
        live = self.store.get(target.resource.storage, target.key)
        if live is None and target.subresource:
            raise not_found(target.resource.plural, target.resource.group, target.name)
        if live is not None:
            check_version(target, live, config["metadata"])
        writer = Writer(options.manager, "Apply", target.api_version, target.subresource)
        base = self.shown(target, live) if live is not None else {}
        try:
            applied = apply_configuration(
                load_entries(base),
                schema=target.version.schema,
                live=base,
                config=without_version(config),
                writer=writer,
                force=options.force,
                ignored=self._ignored(target),
                now=now_text(),
            )
        except DuplicateKey as exc:
            raise Refused(500, f"failed to create typed patch object {patch_object_text(target)}: {exc}") from exc
        if live is None:
            obj = copy.deepcopy(applied.obj)
            return self._create(target, obj, options, warnings=(), writer=writer, entries=applied.entries)
        obj = self._completed(target, copy.deepcopy(applied.obj))
        return self._store(target, live, obj, limit_managers(applied.entries), options)

    def _store(
        self,
        target: Target,
        live: Object,
        obj: Object,
        entries: list[Entry],
        options: Options,
        *,
        warnings: Sequence[str] = (),
    ) -> Outcome:
        """Restore what this path cannot change, check, and write unless nothing changed."""
        shown = self.shown(target, live)
        obj = self._restored(target, shown, obj)
        self._set_entries(obj, entries)
        obj = self._normalized(target, obj)
        if same_but_times(obj, shown):
            return Outcome(shown, warnings=tuple(warnings))
        if target.resource.has_generation and self._spec_changed(target, shown, obj):
            obj["metadata"]["generation"] = shown["metadata"].get("generation", 0) + 1
        self._guard(target, obj, shown)
        check_object(target, obj, shown, review=self._reviews.get(target.resource.storage))
        resource = target.resource
        stored = self._to_stored(target, obj)
        if options.dry_run:
            return Outcome(self.shown(target, stored), warnings=tuple(warnings))
        if _is_released(target, stored["metadata"]):
            self.store.remove(resource.storage, target.key)
            return Outcome(self.shown(target, stored), warnings=tuple(warnings), removed=True)
        stored = self.store.put(resource.storage, target.key, stored)
        return Outcome(self.shown(target, stored), warnings=tuple(warnings))

    def _restored(self, target: Target, live: Object, obj: Object) -> Object:
        """``obj`` with the fields of ``live`` that this request may not write."""
        meta = {key: value for key, value in obj["metadata"].items() if key not in FIXED_META}
        meta |= {key: live["metadata"][key] for key in FIXED_META if key in live["metadata"]}
        meta |= {"name": live["metadata"]["name"], "resourceVersion": live["metadata"]["resourceVersion"]}
        if live["metadata"].get("namespace"):
            meta["namespace"] = live["metadata"]["namespace"]
        if target.subresource == "status":
            result = {**live, "metadata": meta}
            if target.resource.is_custom:
                result["metadata"] = dict(live["metadata"])
            elif "labels" in live["metadata"]:
                meta["labels"] = live["metadata"]["labels"]
            else:
                meta.pop("labels", None)
            result.pop("status", None)
            return {**result, "status": obj["status"]} if "status" in obj else result
        result = {**obj, "metadata": meta}
        if target.resource.has_status:
            result.pop("status", None)
            if "status" in live:
                result["status"] = live["status"]
        return result

    def _spec_changed(self, target: Target, old: Object, new: Object) -> bool:
        skipped = {"metadata", "status"} if target.resource.has_status else {"metadata"}
        keys = (old.keys() | new.keys()) - skipped - {"apiVersion", "kind"}
        if any(old.get(key) != new.get(key) for key in keys):
            return True
        by_annotation = target.resource.storage == "deployments.apps" and not target.subresource
        return by_annotation and _annotations(old) != _annotations(new)

    # -- the steps

    def _completed(self, target: Target, obj: Object) -> Object:
        """Defaults filled in."""
        obj = self._normalized(target, copy.deepcopy(obj))  # a zero that Go would leave out is absent: it gets defaults
        add_defaults(target.version.schema, obj)
        target.resource.default(obj)
        return self._normalized(target, obj)

    @staticmethod
    def _normalized(target: Target, obj: Object) -> Object:
        if not target.resource.is_custom:
            return dict(normalize(target.version.schema, obj))
        given = obj["metadata"]  # the one part of a custom object that Kubernetes reads into a type of its own
        kept = normalize(load_types()["ObjectMeta"], given)
        return {**obj, "metadata": {name: kept[name] for name in given if name in kept}}

    @staticmethod
    def _ignored(target: Target) -> FieldSet:
        """Fields that a request to this path does not own, even where it sends them."""
        if target.subresource == "status":
            return (
                frozenset({("f:spec",)})
                if target.resource.is_custom
                else frozenset({("f:spec",), ("f:metadata", "f:labels")})
            )
        return frozenset({("f:status",)}) if target.resource.has_status else EMPTY

    @staticmethod
    def _set_entries(obj: Object, entries: list[Entry]) -> None:
        rows = render_entries(entries)
        obj["metadata"] = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
        if rows:
            obj["metadata"]["managedFields"] = rows


def _is_released(target: Target, meta: Mapping[str, Any]) -> bool:
    """A deleted object without finalizers and grace goes with this write; namespaces are emptied first."""
    held = meta.get("finalizers") or meta.get("deletionGracePeriodSeconds")
    return bool(meta.get("deletionTimestamp")) and not held and target.resource.storage != "namespaces"


def _annotations(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}
