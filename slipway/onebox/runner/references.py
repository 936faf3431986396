"""Values that a Pod takes from elsewhere: ConfigMaps, Secrets, its own fields, its resources."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.contract.quantity import parse_quantity
from slipway.onebox.runner.spec import Container, Object, Pod

NODE_NAME = "onebox"
HOST_IP = "127.0.0.1"
_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['(?P<key>[^']+)'\]")


class MissingReference(Exception):
    """Something the Pod refers to is not there (yet); the message names it."""


@dataclass(frozen=True)
class Sources:
    """The objects a Pod can refer to, by (namespace, name), and the machine's size."""

    config_maps: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    secrets: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    claims: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    namespaces: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    cpus: int = 1
    memory_bytes: int = 0

    def config_map(self, namespace: str, name: str, *, is_optional: bool = False) -> Mapping[str, bytes] | None:
        """Key → content, ``data`` and ``binaryData``; None where it is optional and missing."""
        found = self.config_maps.get((namespace, name))
        if found is None:
            _require("ConfigMap", namespace, name, is_optional=is_optional)
            return None
        text = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        return {**text, **_decoded(found.get("binaryData"), f"ConfigMap {namespace}/{name}")}

    def secret(self, namespace: str, name: str, *, is_optional: bool = False) -> Mapping[str, bytes] | None:
        found = self.secrets.get((namespace, name))
        if found is None:
            _require("Secret", namespace, name, is_optional=is_optional)
            return None
        return _decoded(found.get("data"), f"Secret {namespace}/{name}")

    def claim(self, namespace: str, name: str) -> Object:
        found = self.claims.get((namespace, name))
        if found is None:
            raise MissingReference(f'persistentvolumeclaim "{name}" not found')
        return found


def field_value(path: str, pod: Pod, *, ip: str) -> str:
    """A downward API field of one value. Raises MissingReference for a field that Kubernetes does not offer."""
    if keyed := _KEYED_FIELD.fullmatch(path):
        return (pod.labels if keyed[1] == "labels" else pod.annotations).get(keyed["key"], "")
    fields = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": NODE_NAME,
        "spec.serviceAccountName": pod.service_account,
        "status.hostIP": HOST_IP,
        "status.podIP": ip,
        "status.podIPs": ip,
    }
    if path not in fields:
        raise MissingReference(f"fieldRef: {path!r} is not one of {', '.join(sorted(fields))}")
    return fields[path]


def map_field(path: str, pod: Pod) -> str | None:
    """``metadata.labels`` or ``metadata.annotations`` as the downward API writes files: sorted ``key="value"`` lines."""
    maps = {"metadata.labels": pod.labels, "metadata.annotations": pod.annotations}
    if path not in maps:
        return None
    return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(maps[path].items()))


def resource_value(ref: Object, container: Container, sources: Sources) -> str:
    """``limits.cpu`` and the like, divided and rounded up; without a limit, what the machine has."""
    part, _, resource = str(ref.get("resource") or "").partition(".")
    defaults = {"cpu": sources.cpus, "memory": sources.memory_bytes, "ephemeral-storage": 0}
    if part not in ("limits", "requests") or resource not in defaults:
        raise MissingReference(f"resourceFieldRef: {ref.get('resource')!r} is not limits.cpu, requests.memory, …")
    raw = container.resources.raw
    declared = (raw.get(part) or {}).get(resource, (raw.get("limits") or {}).get(resource))
    amount = parse_quantity(declared if declared is not None else defaults[resource])
    divisor = parse_quantity(ref.get("divisor") or "1")
    return str(math.ceil(amount / (divisor or 1)))


def key_of(content: Mapping[str, bytes] | None, ref: Mapping[str, Any], what: str) -> bytes | None:
    """The value of ``ref['key']``; None where it is optional and missing."""
    if content is not None and ref["key"] in content:
        return content[ref["key"]]
    if ref.get("optional"):
        return None
    raise MissingReference(f"{what} {ref.get('name')!r} has no key {ref['key']!r}; there are: {sorted(content or ())}")


def _require(kind: str, namespace: str, name: str, *, is_optional: bool) -> None:
    if not is_optional:
        raise MissingReference(f"{kind} {namespace}/{name} does not exist")


def _decoded(data: Mapping[str, str] | None, where: str) -> dict[str, bytes]:
    try:
        return {key: base64.b64decode(value, validate=True) for key, value in (data or {}).items()}
    except (binascii.Error, ValueError) as exc:
        raise MissingReference(f"{where}: a value is not base64") from exc


def _quoted(value: str) -> str:
    """As Go's ``%q`` for the characters that annotations hold in practice."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(char, char) for char in value) + '"'
