"""What a Pod asks for and does not get on this machine, by field: an event says so, nothing is ignored in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.onebox.runner.spec import Object

POD_FIELDS = frozenset(
    {
        *(
            "containers",
            "initContainers",
            "volumes",
            "restartPolicy",
            "terminationGracePeriodSeconds",
            "readinessGates",
        ),
        *("serviceAccountName", "serviceAccount", "nodeName", "tolerations"),
    }
)
CONTAINER_FIELDS = frozenset(
    {
        *("name", "image", "command", "args", "workingDir", "env", "envFrom", "ports", "volumeMounts", "resources"),
        *("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "terminationMessagePolicy"),
        "securityContext",
    }
)
"""What is carried out, or named for the Pod as a whole."""
MEANINGLESS = frozenset(
    {
        *("imagePullSecrets", "imagePullPolicy", "priority", "priorityClassName", "preemptionPolicy"),
        *("enableServiceLinks", "automountServiceAccountToken"),
    }
)
"""What changes nothing where there is one node, images are local, and nobody is preempted."""
DEFAULTS: Mapping[str, Any] = {
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "terminationMessagePath": "/dev/termination-log",
}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def unhonoured_fields(pod: Object) -> list[str]:
    """Paths below ``spec`` of what is declared and not carried out here, sorted."""
    return sorted({*_fields(pod["spec"])})


def _fields(spec: Object) -> Iterator[str]:
    yield from _others("", spec, POD_FIELDS)
    for kind in ("initContainers", "containers"):
        for item in spec.get(kind) or ():
            yield from _container(f"{kind}[{item['name']}]", item)
            if item.get("securityContext"):
                yield "securityContext"  # of any or all: they run as whoever started the platform
    for volume in spec.get("volumes") or ():
        for field in ("sizeLimit", "medium"):
            if (volume.get("emptyDir") or {}).get(field):
                yield f"volumes[{volume['name']}].emptyDir.{field}"


def _container(where: str, item: Object) -> Iterator[str]:
    yield from _others(f"{where}.", item, CONTAINER_FIELDS)
    for probe in PROBES:
        if (item.get(probe) or {}).get("terminationGracePeriodSeconds") is not None:
            yield f"{where}.{probe}.terminationGracePeriodSeconds"
    for port in item.get("ports") or ():
        for field in ("hostPort", "hostIP"):
            if port.get(field):
                yield f"{where}.ports[{port['containerPort']}].{field}"
    for part in ("limits", "requests"):
        for resource in ((item.get("resources") or {}).get(part) or {}).keys() - {"cpu", "memory"}:
            yield f"{where}.resources.{part}.{resource}"


def _others(prefix: str, item: Object, known: frozenset[str]) -> Iterator[str]:
    for field, value in item.items():
        is_asked_for = value not in (None, "", False, [], {}) and value != DEFAULTS.get(field)
        if is_asked_for and field not in known and field not in MEANINGLESS:
            yield f"{prefix}{field}"
