"""Images that an apply would name and nobody has built on this machine: its Pods would wait for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from slipway.contract.predictor_servers import SHIPPED
from slipway.kube.client import Kube
from slipway.kube.errors import ConfigError
from slipway.kube.kubeconfig import load_access
from slipway.onebox.images.errors import ImageError
from slipway.onebox.images.store import Store
from slipway.onebox.paths import Paths

Object = Mapping[str, Any]
LISTS = ("initContainers", "containers")


def store_of(kube: Kube, paths: Paths) -> Store | None:
    """The images of the machine whose API ``kube`` asks; None where that is not the home at ``paths``."""
    try:
        mine = load_access(paths.kubeconfig) if paths.kubeconfig.exists() else None
    except ConfigError:
        return None
    return Store(paths) if mine is not None and mine.server == kube.access.server else None


def images_of(obj: Object) -> Iterator[str]:
    """Of a Pod, or of the Pod template of anything else."""
    spec = obj.get("spec") or {}
    pod = spec if obj.get("kind") == "Pod" else (spec.get("template") or {}).get("spec") or {}
    for name in LISTS:
        yield from (str(item["image"]) for item in pod.get(name) or () if item.get("image"))


def unbuilt(objects: Iterable[Object], store: Store) -> list[str]:
    """One sentence for each image, with the command that builds it; those of the platform's servers build themselves."""
    named = dict.fromkeys(image for obj in objects for image in images_of(obj))
    return [text for image in named if image not in SHIPPED.values() and (text := _problem(image, store))]


def _problem(image: str, store: Store) -> str:
    try:
        store.resolve(image)
    except ImageError as error:
        return f"its Pods would wait: {error}"
    return ""
