"""The API's own admission without an API: schema, defaults, the contract's rules and the rules of every kind."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from slipway.cli.check_files import Problem
from slipway.contract.keda import rests_only_here
from slipway.contract.learning import learning_apart
from slipway.contract.sdep import SeldonDeployment
from slipway.contract.without_effect import without_effect
from slipway.controller.autoscaling import refused_autoscaling
from slipway.controller.settings import ONE_MACHINE
from slipway.controller.traffic import refused_traffic
from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.kube.manifests import in_order
from slipway.onebox.api.admission import SELDON_DEPLOYMENTS, review_seldon_deployment
from slipway.onebox.api.builtin import load_catalog
from slipway.onebox.api.definitions import Definitions
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.objects import Objects
from slipway.onebox.api.resources import Resource
from slipway.onebox.api.store import Store
from slipway.onebox.api.target import Options, Target

Object = dict[str, Any]
DEFAULT_NAMESPACE = "default"
NOT_DECLARED = ": field not declared in schema"
NOT_LOOKED_AT = "<nil>"
"""The field of a cause that stands beside others, and says that rules were not looked at because of them."""
NEVER_RESTS = (
    "KEDA never goes to 0 with these: it needs a trigger that is neither cpu nor memory, such as prometheus; "
    "one machine does"
)
REVIEWS = {SELDON_DEPLOYMENTS: review_seldon_deployment}
"""Those of Istio's objects are said beside what the mesh has against them."""
OPTIONS = Options("slipway-check", dry_run=True)


def is_seldon_deployment(obj: Object) -> bool:
    group, _, _ = str(obj["apiVersion"]).partition("/")
    return (group, obj["kind"]) == (SELDON_DEPLOYMENT.group, SELDON_DEPLOYMENT.kind)


class OfflineApi:
    """An API in a temporary folder; every object is applied as a dry run, definitions and namespaces for real."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="slipway-check-")
        self._store = Store(Path(self._folder.name) / "objects.sqlite")
        self._objects = Objects(self._store, load_catalog(), reviews=REVIEWS)
        self._definitions = Definitions(self._objects)
        self._definitions.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()
        self._folder.cleanup()

    def namespace(self, obj: Object) -> str:
        """Where an apply would put it; empty for kinds that have no namespace."""
        resource = self._resource(obj)
        is_cluster_wide = resource is not None and not resource.namespaced
        return "" if is_cluster_wide else obj["metadata"].get("namespace") or DEFAULT_NAMESPACE

    def review(self, objects: Sequence[Object]) -> Iterator[tuple[Object, Problem]]:
        """What the API would refuse or warn of, were these objects applied together."""
        seen: set[tuple[str, str, str, str]] = set()
        for obj in in_order(objects):
            group = str(obj["apiVersion"]).rpartition("/")[0]
            key = (group, obj["kind"], self.namespace(obj), obj["metadata"]["name"])
            if key in seen:
                yield obj, Problem("metadata.name", "comes twice: the last one applied would win")
            seen.add(key)
            for path in _null_entries(obj):
                yield obj, Problem(path, "is null: write what belongs there, or leave the entry out")
            for problem in self._review(obj):
                yield obj, problem

    def _resource(self, obj: Object) -> Resource | None:
        return self._objects.catalog.by_kind(str(obj["apiVersion"]).rpartition("/")[0], str(obj["kind"]))

    def _review(self, obj: Object) -> Iterator[Problem]:
        resource = self._resource(obj)
        if resource is None:
            yield Problem("kind", f"{obj['apiVersion']} {obj['kind']} is not known here: not checked", is_error=False)
            return
        version = resource.version(str(obj["apiVersion"]).rpartition("/")[2])
        if version is None:
            there_are = ", ".join(resource.api_version(item.name) for item in resource.versions)
            yield Problem("apiVersion", f"{obj['apiVersion']} is not served, there is {there_are}")
            return
        namespace = self.namespace(obj)
        self._ensure_namespace(namespace)
        target = Target(resource, version, namespace, obj["metadata"]["name"])
        try:
            self._apply(target, copy.deepcopy(obj))
        except Refused as refused:
            yield from problems_of(refused)
            return
        if is_seldon_deployment(obj):
            yield from _warnings(obj)

    def _apply(self, target: Target, obj: Object) -> None:
        if target.resource.kind != "CustomResourceDefinition":
            self._objects.apply(target, obj, OPTIONS)
            return
        self._definitions.established(self._objects.apply(target, obj, Options(OPTIONS.manager, force=True)).obj)

    def _ensure_namespace(self, name: str) -> None:
        if name and self._store.get("namespaces", ("", name)) is None:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            found = self._objects.catalog.find("", "v1", "namespaces")
            if found is not None:
                self._objects.apply(Target(*found, name=name), body, Options(OPTIONS.manager))


def _null_entries(value: Any, path: str = "") -> Iterator[str]:
    """Entries of lists that are nothing; the API reads them as empty ones, or not at all."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _null_entries(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if item is None:
                yield f"{path}[{index}]"
            yield from _null_entries(item, f"{path}[{index}]")


def problems_of(refused: Refused) -> Iterator[Problem]:
    """A refusal's causes one by one, with their fields."""
    causes = [cause for cause in (refused.details or {}).get("causes") or () if cause["field"] != NOT_LOOKED_AT]
    for cause in causes:
        yield Problem(str(cause["field"]), str(cause["message"]))
    if causes:
        return
    fields = [line for line in refused.message.splitlines() if line.endswith(NOT_DECLARED)]
    for line in fields:
        path = line.partition(": .")[2] or line.lstrip(".")
        yield Problem(path.removesuffix(NOT_DECLARED), "is not a field of this kind")
    if not fields:
        yield Problem("", refused.message)


def _warnings(obj: Object) -> Iterator[Problem]:
    for text in (*without_effect(obj), *learning_apart(obj)):
        path, _, rest = text.partition(" ")
        yield Problem(path, rest, is_error=False)
    sdep = SeldonDeployment.from_json(obj)
    for cause in (*refused_autoscaling(sdep, ONE_MACHINE), *refused_traffic(sdep, ONE_MACHINE)):
        yield Problem(cause.field, cause.message, is_error=False)
    for index, predictor in enumerate(sdep.predictors):
        for number, component in enumerate(predictor.component_specs):
            if component.keda_spec is not None and rests_only_here(component.keda_spec):
                path = f"spec.predictors[{index}].componentSpecs[{number}].kedaSpec.triggers"
                yield Problem(path, NEVER_RESTS, is_error=False)
