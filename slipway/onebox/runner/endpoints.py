"""Services and Pods → EndpointSlices: who answers for a Service, and which of them are ready."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.kube.kinds import ENDPOINT_SLICE
from slipway.kube.pods import is_ready
from slipway.onebox.runner.references import NODE_NAME
from slipway.onebox.runner.workload_steps import (
    Change,
    Create,
    Delete,
    Object,
    Step,
    is_going,
    owned_by,
    owner_reference,
    ready_stamp,
)

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGED_BY = "runner.slipway.dev"
NAME_HASH_CHARS = 8
Ports = tuple[tuple[str, int, str], ...]  # name, number, protocol


def plan_endpoints(service: Object, pods: Sequence[Object], slices: Sequence[Object]) -> list[Step]:
    """``pods`` and ``slices`` are all of the namespace. A Service without a selector is left to whoever writes its slices."""
    spec = service.get("spec") or {}
    if is_going(service) or not spec.get("selector") or spec.get("type") == "ExternalName":
        return []
    desired = {item["metadata"]["name"]: item for item in _slices(service, pods)}
    have = {item["metadata"]["name"]: item for item in owned_by(service, slices)}
    steps: list[Step] = [Create(desired[name], "new ports") for name in sorted(desired.keys() - have.keys())]
    for name in sorted(desired.keys() & have.keys()):
        if have[name].get("endpoints") != desired[name]["endpoints"]:
            patch = {"endpoints": desired[name]["endpoints"]}
            steps.append(Change(ENDPOINT_SLICE, have[name], patch, "Pods or their readiness changed"))
    steps += [
        Delete(ENDPOINT_SLICE, have[name], "no Pod has these ports") for name in sorted(have.keys() - desired.keys())
    ]
    return steps


def selects(selector: Mapping[str, str], pod: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def _slices(service: Object, pods: Sequence[Object]) -> list[dict[str, Any]]:
    """One per distinct set of port numbers: a named target port may differ from Pod to Pod."""
    groups: dict[Ports, list[Object]] = {}
    for pod in sorted(pods, key=lambda item: str(item["metadata"]["name"])):
        status = pod.get("status") or {}
        has_ended = status.get("phase") in ("Succeeded", "Failed")
        if selects(service["spec"]["selector"], pod) and status.get("podIP") and not has_ended:
            groups.setdefault(_ports(service, pod), []).append(pod)
    if not groups:
        groups[_ports(service, None)] = []
    return [_slice(service, ports, members) for ports, members in sorted(groups.items())]


def _slice(service: Object, ports: Ports, pods: Sequence[Object]) -> dict[str, Any]:
    meta = service["metadata"]
    code = hashlib.sha256(json.dumps(ports).encode()).hexdigest()[:NAME_HASH_CHARS]
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{meta['name']}-{code}",
            "namespace": meta["namespace"],
            "labels": {**(meta.get("labels") or {}), SERVICE_LABEL: meta["name"], MANAGED_BY_LABEL: MANAGED_BY},
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "ports": [{"name": name, "port": number, "protocol": protocol} for name, number, protocol in ports],
        "endpoints": [_endpoint(pod, always=always) for pod in pods],
    }


def _endpoint(pod: Object, *, always: bool) -> dict[str, Any]:
    meta, going = pod["metadata"], is_going(pod)
    serving = is_ready(pod)
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": always or ready_stamp(pod) is not None, "serving": serving, "terminating": going},
        "nodeName": NODE_NAME,
        "targetRef": {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
    }


def _ports(service: Object, pod: Object | None) -> Ports:
    found = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        number = _number(port.get("targetPort", port["port"]), protocol, pod)
        if number is not None:
            found.append((port.get("name") or "", number, protocol))
    return tuple(found)


def _number(target: object, protocol: str, pod: Object | None) -> int | None:
    """A named target port without a Pod, or with a Pod that has no such port, is left out, as in Kubernetes."""
    text = str(target)
    if text.isascii() and text.isdigit():
        return int(text)
    for container in (pod or {}).get("spec", {}).get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == text and (port.get("protocol") or "TCP") == protocol:
                number = port.get("containerPort")
                return number if isinstance(number, int) else None
    return None
