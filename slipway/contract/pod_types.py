"""Which types the fields of a PodSpec and of a container have (Kubernetes' core/v1), where a manifest may have another.

Seldon's own definition spells all of them out. Here what is not spelt out is kept unread, and the API that makes the Deployment
would be the first to say that `value: 8` of a variable is no text. Fields that are not listed are that API's to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slipway.contract.fields import FieldError, shown

Type = Callable[[Any, str], None]
"""Value and its path; FieldError where the value is of another type."""


def _text(value: Any, path: str) -> None:
    if not isinstance(value, str):
        quoted = f': write "{str(value).lower()}"' if isinstance(value, int | float) else ""
        raise FieldError(path, f"{shown(value)} is not a text{quoted}")


def _flag(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        raise FieldError(path, f"{shown(value)} is not true or false")


def _whole(value: Any, path: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise FieldError(path, f"{shown(value)} is not a whole number")


def _texts(value: Any, path: str) -> None:
    if not isinstance(value, Mapping):
        raise FieldError(path, f"{shown(value)} is not an object")
    for key, item in value.items():
        _text(item, f"{path}[{key}]")


def _each(of: Type) -> Type:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list | tuple):
            raise FieldError(path, f"{shown(value)} is not a list")
        for index, item in enumerate(value):
            of(item, f"{path}[{index}]")

    return check


def _object(**fields: Type) -> Type:
    """An object that may have these fields, and others. ``null`` is absent."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, Mapping):
            raise FieldError(path, f"{shown(value)} is not an object")
        for name, of in fields.items():
            if value.get(name) is not None:
                of(value[name], f"{path}.{name}")

    return check


_ANY = _object()
_NAMED = _object(name=_text, optional=_flag)
_KEY = _object(name=_text, key=_text, optional=_flag)
_FIELD = _object(fieldPath=_text, apiVersion=_text)
_RESOURCE_FIELD = _object(resource=_text, containerName=_text)
_SOURCE = _object(configMapKeyRef=_KEY, secretKeyRef=_KEY, fieldRef=_FIELD, resourceFieldRef=_RESOURCE_FIELD)
_ITEMS = _each(_object(key=_text, path=_text, mode=_whole))
_SECURITY: dict[str, Type] = {
    **dict.fromkeys(("runAsUser", "runAsGroup"), _whole),
    "runAsNonRoot": _flag,
    **dict.fromkeys(("seccompProfile", "seLinuxOptions", "appArmorProfile", "windowsOptions"), _ANY),
}
ENV: Type = _each(_object(name=_text, value=_text, valueFrom=_SOURCE))
RESOURCES: Type = _object(requests=_ANY, limits=_ANY, claims=_each(_ANY))
CONTAINER: Type = _object(
    **dict.fromkeys(("name", "image", "imagePullPolicy", "workingDir", "restartPolicy"), _text),
    **dict.fromkeys(("terminationMessagePath", "terminationMessagePolicy"), _text),
    **dict.fromkeys(("command", "args"), _each(_text)),
    **dict.fromkeys(("stdin", "stdinOnce", "tty"), _flag),
    **dict.fromkeys(("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"), _ANY),
    env=ENV,
    envFrom=_each(_object(prefix=_text, configMapRef=_NAMED, secretRef=_NAMED)),
    ports=_each(_object(name=_text, containerPort=_whole, hostPort=_whole, protocol=_text, hostIP=_text)),
    resources=RESOURCES,
    volumeMounts=_each(_object(name=_text, mountPath=_text, subPath=_text, subPathExpr=_text, readOnly=_flag)),
    securityContext=_object(
        **_SECURITY,
        **dict.fromkeys(("allowPrivilegeEscalation", "privileged", "readOnlyRootFilesystem"), _flag),
        capabilities=_object(add=_each(_text), drop=_each(_text)),
    ),
)
VOLUME: Type = _object(
    name=_text,
    configMap=_object(name=_text, items=_ITEMS, defaultMode=_whole, optional=_flag),
    downwardAPI=_object(items=_each(_object(path=_text, fieldRef=_FIELD)), defaultMode=_whole),
    emptyDir=_object(medium=_text),
    hostPath=_object(path=_text, type=_text),
    persistentVolumeClaim=_object(claimName=_text, readOnly=_flag),
    projected=_object(sources=_each(_ANY), defaultMode=_whole),
    secret=_object(secretName=_text, items=_ITEMS, defaultMode=_whole, optional=_flag),
)
POD: Type = _object(
    **dict.fromkeys(("serviceAccountName", "nodeName", "hostname", "subdomain", "schedulerName"), _text),
    **dict.fromkeys(("priorityClassName", "runtimeClassName", "dnsPolicy", "restartPolicy"), _text),
    **dict.fromkeys(("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"), _flag),
    **dict.fromkeys(("automountServiceAccountToken", "enableServiceLinks"), _flag),
    **dict.fromkeys(("terminationGracePeriodSeconds", "activeDeadlineSeconds", "priority"), _whole),
    **dict.fromkeys(("affinity", "dnsConfig"), _ANY),
    **dict.fromkeys(("containers", "initContainers"), _each(CONTAINER)),
    nodeSelector=_texts,
    tolerations=_each(_object(key=_text, operator=_text, value=_text, effect=_text, tolerationSeconds=_whole)),
    imagePullSecrets=_each(_object(name=_text)),
    hostAliases=_each(_object(ip=_text, hostnames=_each(_text))),
    topologySpreadConstraints=_each(_object(maxSkew=_whole, topologyKey=_text, whenUnsatisfiable=_text)),
    volumes=_each(VOLUME),
    securityContext=_object(
        **_SECURITY, fsGroup=_whole, supplementalGroups=_each(_whole), fsGroupChangePolicy=_text, sysctls=_each(_ANY)
    ),
)
