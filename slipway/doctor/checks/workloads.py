"""What a Deployment says of itself: whether it is there, and the version its images have."""

from __future__ import annotations

import re
from collections.abc import Iterable

from slipway.doctor.facts import Object

OF_SERVICE = "kubernetes.io/service-name"
"""The label of EndpointSlices."""
VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


def place_of(obj: Object) -> str:
    """``namespace/name``, or the name of what has no namespace."""
    meta = obj["metadata"]
    return "/".join(part for part in (meta.get("namespace"), meta["name"]) if part)


def ready_of(deployment: Object) -> tuple[int, int]:
    """(Pods that are ready, Pods that should be)."""
    wanted = (deployment.get("spec") or {}).get("replicas", 1)
    return int((deployment.get("status") or {}).get("readyReplicas") or 0), int(wanted)


def ready_endpoints(slices: Iterable[Object]) -> int:
    """How many Pods may be asked. One that says nothing of it is ready.

    https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
    """
    found = (endpoint for obj in slices for endpoint in obj.get("endpoints") or ())
    return sum((endpoint.get("conditions") or {}).get("ready", True) is not False for endpoint in found)


def images_of(deployment: Object) -> list[str]:
    return [str(container.get("image", "")) for container in deployment["spec"]["template"]["spec"]["containers"]]


def arguments_of(deployment: Object) -> list[str]:
    """Of all its containers."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return [str(word) for container in containers for word in container.get("args") or ()]


def tag_of(image: str) -> str:
    """What follows the name's colon, without a digest; empty where there is none."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def version_of(deployments: Iterable[Object]) -> str:
    """The tag of the first Deployment's first image."""
    return next((tag_of(image) for obj in deployments for image in images_of(obj)[:1]), "")


def parsed(version: str) -> tuple[int, int] | None:
    """(major, minor) of ``v1.31.2-gke.100`` and its like."""
    found = VERSION.match(version)
    return (int(found[1]), int(found[2])) if found else None
