"""What single kinds need beyond their schema: defaults that depend on other fields, and rules that compare them."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.crd.structural import quote
from slipway.kube.selectors import selector_matches
from slipway.onebox.api.columns import get
from slipway.onebox.api.container_rules import check_ports, check_resources
from slipway.onebox.api.errors import Cause
from slipway.onebox.api.meta_rules import LABEL, MAX_LABEL, MAX_NAME, QUALIFIED_TEXT

Object = dict[str, Any]
CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")


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
    """The containers: at least one, named once each, with an image, and ports and resources that can be."""
    if not spec.get("containers"):
        yield Cause(f"{path}.containers", "Required value", "FieldValueRequired")
    seen: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            at, name = f"{path}.{group}[{index}]", str(container.get("name", ""))
            if not name:
                yield Cause(f"{at}.name", "Required value", "FieldValueRequired")
            elif len(name) > MAX_LABEL or not LABEL.fullmatch(name):
                yield Cause(
                    f"{at}.name",
                    f"Invalid value: {quote(name)}: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL.pattern}')",
                )
            elif name in seen:
                yield Cause(f"{at}.name", f"Duplicate value: {quote(name)}", "FieldValueDuplicate")
            seen.add(name)
            if not container.get("image"):
                yield Cause(f"{at}.image", "Required value", "FieldValueRequired")
            yield from check_ports(container, at)
            yield from check_resources(container, at)
            yield from _check_mounts(spec, container, at)


def _check_mounts(spec: Mapping[str, Any], container: Mapping[str, Any], at: str) -> Iterator[Cause]:
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            message = f"Not found: {quote(str(mount.get('name', '')))}"
            yield Cause(f"{at}.volumeMounts[{index}].name", message, "FieldValueNotFound")


def _negative(obj: Mapping[str, Any], path: str) -> Iterator[Cause]:
    value = get(obj, path)
    if isinstance(value, int) and value < 0:
        yield Cause(path, f"Invalid value: {value}: must be greater than or equal to 0")


def check_workload(new: Object, old: Object | None) -> Sequence[Cause]:
    """Deployments and ReplicaSets: selector and template agree, and the selector never changes."""
    selector = get(new, "spec.selector")
    labels = get(new, "spec.template.metadata.labels", {})
    causes = list(_negative(new, "spec.replicas"))
    if not selector:
        causes.append(Cause("spec.selector", "Required value", "FieldValueRequired"))
    elif not selector_matches(selector, labels):
        shown = ", ".join(f'"{key}":"{labels[key]}"' for key in sorted(labels))
        message = f"Invalid value: map[string]string{{{shown}}}: `selector` does not match template `labels`"
        causes.append(Cause("spec.template.metadata.labels", message))
    causes += check_pod_spec(get(new, "spec.template.spec", {}), "spec.template.spec")
    if old is not None and selector != get(old, "spec.selector"):
        causes.append(Cause("spec.selector", f"Invalid value: {_go_selector(selector or {})}: field is immutable"))
    return causes


def _go_selector(selector: Mapping[str, Any]) -> str:
    labels = selector.get("matchLabels") or {}
    shown = ", ".join(f'"{key}":"{labels[key]}"' for key in sorted(labels))
    return f"v1.LabelSelector{{MatchLabels:map[string]string{{{shown}}}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}}"


def check_job(new: Object, old: Object | None) -> Sequence[Cause]:
    causes = [
        *_negative(new, "spec.completions"),
        *_negative(new, "spec.parallelism"),
        *_negative(new, "spec.backoffLimit"),
    ]
    causes += check_pod_spec(get(new, "spec.template.spec", {}), "spec.template.spec")
    if get(new, "spec.template.spec.restartPolicy") not in ("OnFailure", "Never"):
        value = quote(get(new, "spec.template.spec.restartPolicy", ""))
        message = f'Unsupported value: {value}: supported values: "OnFailure", "Never"'
        causes.append(Cause("spec.template.spec.restartPolicy", message, "FieldValueNotSupported"))
    if old is not None and get(new, "spec.template") != get(old, "spec.template"):
        causes.append(Cause("spec.template", "Invalid value: the template: field is immutable"))
    return causes


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
    for key, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()


def check_config(new: Object, old: Object | None) -> Sequence[Cause]:
    """ConfigMaps and Secrets: valid keys; nothing changes once ``immutable``."""
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


def default_service(obj: Object) -> None:
    spec = obj["spec"]
    for port in spec.get("ports") or ():
        port.setdefault("targetPort", port.get("port"))
    if spec.get("type") != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")


def check_service(new: Object, old: Object | None) -> Sequence[Cause]:
    spec, causes = new["spec"], []
    if not spec.get("ports") and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        causes.append(Cause("spec.ports", "Required value", "FieldValueRequired"))
    names: list[str] = []
    for index, port in enumerate(spec.get("ports") or ()):
        number = port.get("port", 0)
        if not 1 <= number <= 65535:
            message = f"Invalid value: {number}: must be between 1 and 65535, inclusive"
            causes.append(Cause(f"spec.ports[{index}].port", message))
        if len(spec["ports"]) > 1 and not port.get("name"):
            causes.append(Cause(f"spec.ports[{index}].name", "Required value", "FieldValueRequired"))
        if port.get("name") and port["name"] in names:
            causes.append(
                Cause(f"spec.ports[{index}].name", f"Duplicate value: {quote(port['name'])}", "FieldValueDuplicate")
            )
        names.append(port.get("name", ""))
    if old is not None and get(old, "spec.clusterIP") and spec.get("clusterIP") != get(old, "spec.clusterIP"):
        shown = f"[]string{{{quote(spec.get('clusterIP', ''))}}}"
        causes.append(Cause("spec.clusterIPs[0]", f"Invalid value: {shown}: may not change once set"))
    return causes


def check_role(new: Object, old: Object | None) -> Sequence[Cause]:
    del old
    return [
        Cause(f"rules[{index}].verbs", "Required value: verbs must contain at least one value", "FieldValueRequired")
        for index, rule in enumerate(new.get("rules") or ())
        if not rule.get("verbs")
    ]


def check_binding(new: Object, old: Object | None) -> Sequence[Cause]:
    ref = new.get("roleRef") or {}
    if old is not None and ref != old.get("roleRef"):
        shown = f'rbac.RoleRef{{APIGroup:"{ref.get("apiGroup", "")}", Kind:"{ref.get("kind", "")}", Name:"{ref.get("name", "")}"}}'
        return [Cause("roleRef", f"Invalid value: {shown}: cannot change roleRef")]
    return ()


def check_lease(new: Object, old: Object | None) -> Sequence[Cause]:
    del old
    seconds = new["spec"].get("leaseDurationSeconds", 1)
    if seconds < 1:
        return [Cause("spec.leaseDurationSeconds", f"Invalid value: {seconds}: must be greater than 0")]
    return ()
