"""What a Pod asks for and does not get on this machine, by field: an event says so, nothing is ignored in silence.

Containers run as whoever started the platform, without another user, other rights or other bounds: what every manifest of the
level `restricted` says is true of them, or is no loss to who wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.pod_security import DEFAULT_USER_ID, READ_ONLY, RESTRICTED
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
        *("serviceAccountName", "serviceAccount", "nodeName", "tolerations", "securityContext"),
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
NO_LOSS: Mapping[str, tuple[Any, ...]] = {
    **{field: (value,) for field, value in {**RESTRICTED, **READ_ONLY}.items()},
    "runAsUser": (DEFAULT_USER_ID,),
    "runAsGroup": (DEFAULT_USER_ID,),
    "allowPrivilegeEscalation": (False, True),
    "seccompProfile": ({"type": "RuntimeDefault"}, {"type": "Unconfined"}),
}
"""Values of a securityContext that our own manifests have, or that are so here."""
OF_OWN_FILES = frozenset({"fsGroup", "fsGroupChangePolicy"})
"""Fields that let a container's user read its volumes: here they are his."""
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def unhonoured_fields(pod: Object) -> list[str]:
    """Paths below ``spec`` of what is declared and not carried out here, sorted."""
    return sorted({*_fields(pod["spec"])})


def _fields(spec: Object) -> Iterator[str]:
    yield from _others("", spec, POD_FIELDS)
    yield from _security("", spec.get("securityContext") or {})
    for kind in ("initContainers", "containers"):
        for item in spec.get(kind) or ():
            yield from _container(f"{kind}[{item['name']}]", item)
    for volume in spec.get("volumes") or ():
        for field in ("sizeLimit", "medium"):
            if (volume.get("emptyDir") or {}).get(field):
                yield f"volumes[{volume['name']}].emptyDir.{field}"


def _container(where: str, item: Object) -> Iterator[str]:
    yield from _others(f"{where}.", item, CONTAINER_FIELDS)
    yield from _security(f"{where}.", item.get("securityContext") or {})
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


def _security(prefix: str, context: Object) -> Iterator[str]:
    for field, value in context.items():
        if field == "capabilities":
            if value and value.get("add"):
                yield f"{prefix}securityContext.capabilities.add"
        elif _is_asked_for(value) and field not in OF_OWN_FILES and value not in NO_LOSS.get(field, ()):
            yield f"{prefix}securityContext.{field}"


def _others(prefix: str, item: Object, known: frozenset[str]) -> Iterator[str]:
    for field, value in item.items():
        is_asked_for = _is_asked_for(value) and value != DEFAULTS.get(field)
        if is_asked_for and field not in known and field not in MEANINGLESS:
            yield f"{prefix}{field}"


def _is_asked_for(value: Any) -> bool:
    """0 is a value: a user, for example."""
    return value is not None and value is not False and value not in ("", [], {})
