"""The environment, command and threads of a container."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping

from slipway.kube.malformed import MALFORMED
from slipway.onebox.runner.references import MissingReference, Sources, field_value, key_of, resource_value
from slipway.onebox.runner.spec import Container, InvalidPod, Object, Pod, described

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Numeric libraries start a thread per core of the machine unless told how many the container may use."""
_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[A-Za-z_.-][A-Za-z0-9_.-]*)\))")


def expand(text: str, env: Mapping[str, str]) -> str:
    """``$(NAME)`` → its value; ``$$`` → ``$``; an unknown name stays as it is, as in Kubernetes."""

    def value(matched: re.Match[str]) -> str:
        if matched["name"] is None:
            return "$"
        return env.get(matched["name"], matched[0])

    return _REFERENCE.sub(value, text)


def container_env(
    container: Container, pod: Pod, *, sources: Sources, ip: str, image_env: Mapping[str, str]
) -> dict[str, str]:
    """The image's variables, then ``envFrom``, then ``env``; later ones win. Raises MissingReference, InvalidPod."""
    env = dict(image_env)
    try:
        for item in container.env_from:
            env.update(_from(item, pod, sources))
        for item in container.env:
            value = _value(item, container, pod, sources=sources, ip=ip, env=env)
            if value is not None:
                env[item["name"]] = value
    except MALFORMED as exc:
        raise InvalidPod(f"{container.name}: env: {described(exc)}") from exc
    return env


def base_env(*, root: str, python: str, pod: Pod, tmp: str) -> dict[str, str]:
    """What every container has unless its image or manifest says otherwise. Nothing of the runner's own environment."""
    return {
        "PATH": os.pathsep.join((f"{python}/bin", SYSTEM_PATH)),
        "PYTHONPATH": root,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime tells Microsoft about models from release 1.29 on, unless asked not to
        "HOME": tmp,
        "TMPDIR": tmp,
        "HOSTNAME": pod.name,
        "LANG": "C.UTF-8",
    }


def thread_env(cpu: float | None) -> dict[str, str]:
    """Threads follow the CPU share: one per core or part of a core; nothing where no share is declared."""
    if cpu is None:
        return {}
    count = str(max(1, min(math.ceil(cpu), os.cpu_count() or 1)))
    return dict.fromkeys(THREAD_VARIABLES, count)


def _from(item: Object, pod: Pod, sources: Sources) -> Iterator[tuple[str, str]]:
    prefix = item.get("prefix") or ""
    if ref := item.get("configMapRef"):
        content = sources.config_map(pod.namespace, ref["name"], is_optional=bool(ref.get("optional")))
    elif ref := item.get("secretRef"):
        content = sources.secret(pod.namespace, ref["name"], is_optional=bool(ref.get("optional")))
    else:
        raise MissingReference("envFrom: one of configMapRef, secretRef is needed")
    for key, value in sorted((content or {}).items()):
        yield prefix + key, os.fsdecode(value)


def _value(
    item: Object, container: Container, pod: Pod, *, sources: Sources, ip: str, env: Mapping[str, str]
) -> str | None:
    """None: an optional source that is not there, so the variable is not set."""
    if not (source := item.get("valueFrom")):
        return expand(item.get("value") or "", env)
    if ref := source.get("fieldRef"):
        path = ref["fieldPath"]
        return field_value(path, pod, ip=ip)
    if ref := source.get("resourceFieldRef"):
        named = pod.container(ref["containerName"]) if ref.get("containerName") else container
        return resource_value(ref, named, sources)
    if ref := source.get("configMapKeyRef"):
        content = sources.config_map(pod.namespace, ref["name"], is_optional=bool(ref.get("optional")))
        found = key_of(content, ref, "ConfigMap")
    elif ref := source.get("secretKeyRef"):
        content = sources.secret(pod.namespace, ref["name"], is_optional=bool(ref.get("optional")))
        found = key_of(content, ref, "Secret")
    else:
        raise MissingReference(f"env {item['name']}: valueFrom has no source that is known here")
    return None if found is None else os.fsdecode(found)
