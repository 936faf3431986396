"""The steps that workload plans consist of, and what the plans share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slipway.kube.kinds import Kind

Object = Mapping[str, Any]
HASH_LABEL = "pod-template-hash"
HASH_CHARS = 10
MAX_NAME_CHARS = 63
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_CHARS = 5


@dataclass(frozen=True)
class Create:
    obj: Object
    reason: str


@dataclass(frozen=True)
class Delete:
    kind: Kind
    obj: Object
    reason: str


@dataclass(frozen=True)
class Change:
    """A merge patch of the object, or of its status."""

    kind: Kind
    obj: Object
    patch: Object
    reason: str
    subresource: str | None = None


Step = Create | Delete | Change


def owned_by(owner: Object, objects: Iterable[Object]) -> list[Object]:
    """What ``owner`` controls, oldest first, then by name."""
    uid = owner["metadata"]["uid"]
    mine = [obj for obj in objects if controller_uid(obj) == uid]
    return sorted(mine, key=lambda obj: (obj["metadata"].get("creationTimestamp") or "", obj["metadata"]["name"]))


def controller_uid(obj: Object) -> str | None:
    references = obj["metadata"].get("ownerReferences") or ()
    return next((item["uid"] for item in references if item.get("controller")), None)


def owner_reference(owner: Object) -> dict[str, Any]:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_going(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def is_active(pod: Object) -> bool:
    """Counts towards the wanted number: neither finished nor going."""
    return not is_going(pod) and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def ready_since(pod: Object) -> float | None:
    """When the Pod became ready (seconds since the epoch); None while it is not."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "True" and not is_going(pod):
            return parse_time(condition.get("lastTransitionTime"))
    return None


def is_available(pod: Object, *, min_ready_s: float, now: float) -> bool:
    since = ready_since(pod)
    return since is not None and (min_ready_s == 0 or now - since >= min_ready_s)


def parse_time(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def template_hash(template: Object) -> str:
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return _letters(text, HASH_CHARS)


def pod_from(
    template: Object, owner: Object, *, taken: Sequence[str], now: float, labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A Pod of ``owner`` with a name that is not in ``taken``; made at another time it has another name."""
    meta = template.get("metadata") or {}
    name, namespace = owner["metadata"]["name"], owner["metadata"]["namespace"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": free_name(name, f"{owner['metadata']['uid']}/{now}", taken),
            "generateName": f"{name}-",
            "namespace": namespace,
            "labels": {**(meta.get("labels") or {}), **(labels or {})},
            "annotations": dict(meta.get("annotations") or {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": dict(template["spec"]),
    }


def free_name(prefix: str, seed: str, taken: Sequence[str]) -> str:
    """``prefix`` and five letters that follow from ``seed``: the first that are not in ``taken``."""
    attempt = 0
    while True:
        name = f"{prefix[: MAX_NAME_CHARS - SUFFIX_CHARS - 1]}-{_letters(f'{seed}/{attempt}', SUFFIX_CHARS)}"
        if name not in taken:
            return name
        attempt += 1


def prune_zero(status: Mapping[str, Any]) -> dict[str, Any]:
    """Kubernetes leaves counts of zero out; a merge patch removes what was there."""
    return {key: (None if value == 0 and not isinstance(value, bool) else value) for key, value in status.items()}


def differs(old: Mapping[str, Any] | None, patch: Mapping[str, Any]) -> bool:
    """Whether a merge patch of one level would change anything."""
    return any((old or {}).get(key) != value for key, value in patch.items())


def _letters(text: str, count: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    letters = []
    for _ in range(count):
        number, index = divmod(number, len(SUFFIX_ALPHABET))
        letters.append(SUFFIX_ALPHABET[index])
    return "".join(letters)
