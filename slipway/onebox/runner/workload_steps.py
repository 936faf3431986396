"""The steps that workload plans consist of, and what the plans share."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.kube.kinds import Kind
from slipway.onebox.runner.moments import Moment

Object = Mapping[str, Any]
HASH_LABEL = "pod-template-hash"
HASH_CHARS = 10
MAX_NAME_CHARS = 63
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_CHARS = 5
MAX_BURST = 25
"""Pods that one plan makes, or deletes, of one workload; the next round goes on, after the others have had their turn."""


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
class Notice:
    """What an event of a workload says."""

    reason: str
    message: str
    is_warning: bool = False


@dataclass(frozen=True)
class Change:
    """A merge patch of the object, or of its status. ``is_adoption``: only while its owner is there, asked of the API.

    ``notice``: the event about it, once it is written.
    """

    kind: Kind
    obj: Object
    patch: Object
    reason: str
    subresource: str | None = None
    is_adoption: bool = False
    notice: Notice | None = None


Step = Create | Delete | Change


def owned_by(owner: Object, objects: Iterable[Object]) -> list[Object]:
    """What ``owner`` controls, oldest first, then by name."""
    uid = owner["metadata"]["uid"]
    return oldest_first(obj for obj in objects if controller_uid(obj) == uid)


def oldest_first(objects: Iterable[Object]) -> list[Object]:
    return sorted(objects, key=lambda obj: (obj["metadata"].get("creationTimestamp") or "", obj["metadata"]["name"]))


def controller_of(obj: Object) -> Object | None:
    """The reference to whoever controls it."""
    references = obj["metadata"].get("ownerReferences") or ()
    return next((item for item in references if item.get("controller")), None)


def controller_uid(obj: Object) -> str | None:
    found = controller_of(obj)
    return None if found is None else found["uid"]


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


def ready_stamp(pod: Object) -> str | None:
    """When the Pod became ready, '' where its status does not say it; None while it is not."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "True" and not is_going(pod):
            return condition.get("lastTransitionTime") or ""
    return None


def is_available(pod: Object, *, min_ready_s: float, now: Moment) -> bool:
    stamp = ready_stamp(pod)
    return stamp is not None and (min_ready_s == 0 or now.age_s(pod, stamp) >= min_ready_s)


def template_hash(template: Object) -> str:
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return _letters(text, HASH_CHARS)


def pods_from(
    template: Object,
    owner: Object,
    count: int,
    *,
    taken: Iterable[Object],
    now: float,
    labels: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """``count`` Pods of ``owner``, MAX_BURST at most, none named as one of ``taken``; made at another time they have other names."""
    name = owner["metadata"]["name"]
    names = free_names(name, f"{owner['metadata']['uid']}/{now}", {pod["metadata"]["name"] for pod in taken})
    meta = template.get("metadata") or {}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": free,
                "generateName": f"{name}-",
                "namespace": owner["metadata"]["namespace"],
                "labels": {**(meta.get("labels") or {}), **(labels or {})},
                "annotations": dict(meta.get("annotations") or {}),
                "ownerReferences": [owner_reference(owner)],
            },
            "spec": dict(template["spec"]),
        }
        for free in itertools.islice(names, max(0, min(count, MAX_BURST)))
    ]


def free_names(prefix: str, seed: str, taken: Collection[str]) -> Iterator[str]:
    """``prefix`` and five letters that follow from ``seed``, again and again: each name once, none of ``taken``."""
    given = set(taken)
    for attempt in itertools.count():
        name = f"{prefix[: MAX_NAME_CHARS - SUFFIX_CHARS - 1]}-{_letters(f'{seed}/{attempt}', SUFFIX_CHARS)}"
        if name not in given:
            given.add(name)
            yield name


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
