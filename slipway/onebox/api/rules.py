"""What single kinds need beyond their schema: defaults that depend on other fields, and rules that compare them."""

from __future__ import annotations

import base64
import copy
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.contract.budget_rules import budget_causes
from slipway.contract.causes import Cause
from slipway.contract.field_causes import duplicate, invalid, quote, required
from slipway.contract.pod_rules import LABEL_WORDS, is_label, pod_causes
from slipway.onebox.api.columns import get
from slipway.onebox.api.meta_rules import MAX_NAME, QUALIFIED_TEXT

Object = dict[str, Any]
CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
MAX_CONFIG_BYTES = 1 << 20
"""Of the values of a ConfigMap or a Secret together, as in a cluster."""
TOKEN_SECRET = "kubernetes.io/service-account-token"  # noqa: S105  - a Secret's type
TOKEN_BYTES = 32


def check_event(new: Object, old: Object | None) -> Sequence[Cause]:
    """An event lives in the namespace of what it is about."""
    place = get(new, "involvedObject.namespace") or get(new, "regarding.namespace")
    if place and place != new["metadata"].get("namespace"):
        return [Cause("involvedObject.namespace", f"Invalid value: {quote(place)}: does not match event.namespace")]
    return [*_check_reporter(new)] if old is None and new.get("eventTime") else ()


def _check_reporter(event: Object) -> Iterator[Cause]:
    """An event with ``eventTime`` is one of the newer form: it says who reports it, and of which action."""
    names = {
        "reportingComponent": event.get("reportingComponent") or event.get("reportingController"),
        "reportingInstance": event.get("reportingInstance"),
        "action": event.get("action"),
    }
    for field, value in names.items():
        if value:
            continue
        yield Cause(field, "Required value", "FieldValueRequired")
        if field == "reportingComponent":
            yield Cause(field, 'Invalid value: "": name part must be non-empty')
            yield Cause(field, f'Invalid value: "": name part {QUALIFIED_TEXT}')


# -- Pods and what holds a template


def default_pod_spec(spec: Object) -> None:
    """Defaults of a Pod spec that depend on other fields."""
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        if "imagePullPolicy" not in container:
            image = str(container.get("image", ""))
            tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
            latest = "@" not in image and tag in ("", "latest")
            container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"
        limits = get(container, "resources.limits", {})
        if limits:
            container["resources"]["requests"] = {**limits, **(container["resources"].get("requests") or {})}
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]


def default_template(obj: Object) -> None:
    default_pod_spec(get(obj, "spec.template.spec", {}))


def default_deployment(obj: Object) -> None:
    """``strategy``: RollingUpdate with a quarter each way."""
    default_template(obj)
    strategy = obj["spec"].setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def default_replica_set(obj: Object) -> None:
    default_template(obj)
    labels = get(obj, "spec.template.metadata.labels")
    if labels and not get(obj, "spec.selector"):
        obj["spec"]["selector"] = {"matchLabels": dict(labels)}
    if labels and not get(obj, "metadata.labels"):
        obj["metadata"]["labels"] = dict(labels)


def default_job(obj: Object) -> None:
    default_template(obj)
    spec = obj["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    elif spec.get("parallelism") is None:
        spec["parallelism"] = 1


def prepare_job(obj: Object) -> None:
    """The labels and the selector by which a Job knows its Pods."""
    uid, name = obj["metadata"]["uid"], obj["metadata"]["name"]
    template = obj["spec"].setdefault("template", {})
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels |= {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    obj["spec"].setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})


def default_pod(obj: Object) -> None:
    spec = obj.get("spec") or {}
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)


def prepare_pod(obj: Object) -> None:
    obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj["spec"])}


def qos_class(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory of all containers."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    resources = [container.get("resources") or {} for container in containers]
    if not any(part.get("limits") or part.get("requests") for part in resources):
        return "BestEffort"
    for part in resources:
        limits, requests = part.get("limits") or {}, part.get("requests") or {}
        if any(name not in limits or requests.get(name, limits[name]) != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def check_pod_spec(spec: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """The containers: at least one, named once each, with an image and volumes that there are; and the contract's rules."""
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    seen: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            at, name = f"{path}.{group}[{index}]", str(container.get("name", ""))
            if not name:
                yield required(f"{at}.name")
            elif not is_label(name):
                yield invalid(f"{at}.name", name, LABEL_WORDS)
            elif name in seen:
                yield duplicate(f"{at}.name", quote(name))
            seen.add(name)
            if not container.get("image"):
                yield required(f"{at}.image")
            yield from _check_mounts(spec, container, at)
    yield from pod_causes(spec, path)


def _check_mounts(spec: Mapping[str, Any], container: Mapping[str, Any], at: str) -> Iterator[Cause]:
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            message = f"Not found: {quote(str(mount.get('name', '')))}"
            yield Cause(f"{at}.volumeMounts[{index}].name", message, "FieldValueNotFound")


MUTABLE_POD_SPEC = (
    "activeDeadlineSeconds",
    "tolerations",
    "terminationGracePeriodSeconds",
    "schedulingGates",
    "nodeName",
)


def check_pod(new: Object, old: Object | None) -> Sequence[Cause]:
    """A running Pod's spec is fixed but for images and a few times."""
    if old is None:
        return list(check_pod_spec(new.get("spec") or {}, "spec"))
    if _frozen_spec(new) != _frozen_spec(old):
        message = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        return [Cause("spec", message, "FieldValueForbidden")]
    return ()


def _frozen_spec(pod: Mapping[str, Any]) -> Object:
    spec = copy.deepcopy(dict(pod.get("spec") or {}))
    for name in MUTABLE_POD_SPEC:
        spec.pop(name, None)
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        container.pop("image", None)
    return spec


# -- the rest of core


def default_namespace(obj: Object) -> None:
    if name := obj["metadata"].get("name"):
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def prepare_namespace(obj: Object) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}


def default_secret(obj: Object) -> None:
    """``stringData`` is written over ``data``."""
    if texts := obj.pop("stringData", None):
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        obj["data"] = (obj.get("data") or {}) | encoded


def prepare_secret(obj: Object, *, authority: str) -> None:
    """A service account's Secret gets what it does not bring of that which a cluster's controller writes into one.

    ``authority``: whom its reader trusts to be this API, in PEM; empty where nobody is to be trusted.
    """
    if obj.get("type") != TOKEN_SECRET:
        return
    brought = {key: value for key, value in (obj.get("data") or {}).items() if value}
    made = {
        "ca.crt": authority,
        "namespace": obj["metadata"]["namespace"],
        "token": secrets.token_urlsafe(TOKEN_BYTES),
    }
    obj["data"] = {key: base64.b64encode(text.encode()).decode() for key, text in made.items() if text} | brought


def check_config_map(new: Object, old: Object | None) -> Sequence[Cause]:
    size = sum(len(text.encode()) for text in (new.get("data") or {}).values()) + _encoded_bytes(new, "binaryData")
    return [*_check_size("[]", size), *_check_config(new, old)]


def check_secret(new: Object, old: Object | None) -> Sequence[Cause]:
    return [*_check_size("data", _encoded_bytes(new, "data")), *_check_config(new, old)]


def _encoded_bytes(obj: Mapping[str, Any], part: str) -> int:
    """What the base64 of a part stands for."""
    return sum(len(text) * 3 // 4 - text[-2:].count("=") for text in (obj.get(part) or {}).values())


def _check_size(field: str, size: int) -> Iterator[Cause]:
    if size > MAX_CONFIG_BYTES:
        yield Cause(field, f"Too long: may not be more than {MAX_CONFIG_BYTES} bytes", "FieldValueTooLong")


def _check_config(new: Object, old: Object | None) -> Sequence[Cause]:
    """Valid keys; nothing changes once ``immutable``."""
    causes = []
    for part in ("data", "binaryData"):
        for key in new.get(part) or {}:
            if not CONFIG_KEY.fullmatch(key) or len(key) > MAX_NAME:
                message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                causes.append(Cause(f"{part}[{key}]", f"Invalid value: {quote(key)}: {message}"))
    if old is not None and old.get("immutable"):
        if not new.get("immutable"):
            message = "Forbidden: field is immutable when `immutable` is set"
            causes.append(Cause("immutable", message, "FieldValueForbidden"))
        for part in ("data", "binaryData"):
            if new.get(part) != old.get(part):
                message = "Forbidden: field is immutable when `immutable` is set"
                causes.append(Cause(part, message, "FieldValueForbidden"))
    return causes


def check_budget(new: Object, old: Object | None) -> Sequence[Cause]:
    del old
    return [*budget_causes(new["spec"], "spec")]


def check_lease(new: Object, old: Object | None) -> Sequence[Cause]:
    del old
    seconds = new["spec"].get("leaseDurationSeconds", 1)
    if seconds < 1:
        return [Cause("spec.leaseDurationSeconds", f"Invalid value: {seconds}: must be greater than 0")]
    return ()
