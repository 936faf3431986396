"""``seldon/tenant`` → the objects of one user's namespace, as `kubectl kustomize` makes them with `namespace:`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from slipway.kube.manifests import Object, load_manifests
from slipway.onebox.images.build import PLATFORM_ROOT

FOLDER = PLATFORM_ROOT / "seldon" / "tenant"


def load_tenant(folder: Path = FOLDER) -> list[Object]:
    """The objects that the kustomization names.

    Raises:
        ManifestError: a file that it names is missing or no manifest.
    """
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return [item for name in kustomization["resources"] for item in load_manifests(folder / name)]


def in_namespace(tenant: list[Object], namespace: str) -> list[Object]:
    """The same objects in another namespace, which is one of them."""
    return [_moved(item, namespace) for item in tenant]


def _moved(item: Object, namespace: str) -> Object:
    place = {"name": namespace} if item["kind"] == "Namespace" else {"namespace": namespace}
    moved: dict[str, Any] = {**item, "metadata": {**item["metadata"], **place}}
    if "subjects" in item:
        moved["subjects"] = [{**subject, "namespace": namespace} for subject in item["subjects"]]
    return moved
