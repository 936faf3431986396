"""The cells of ``kubectl get``: one list of columns per built-in kind, JSONPath columns for custom ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Object = Mapping[str, Any]
NONE = "<none>"
UNKNOWN = "<unknown>"


@dataclass(frozen=True)
class Column:
    """``priority`` above 0 is shown by ``-o wide`` only."""

    name: str
    cell: Callable[[Object], Any]
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or f"{self.name} of the object.",
            "priority": self.priority,
        }


def get(obj: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path, or ``default``."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, Mapping) else None
    return default if obj is None else obj


def age(timestamp: str | None) -> str:
    """How long ago, as kubectl prints it."""
    if not timestamp:
        return UNKNOWN
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return UNKNOWN
    return human_duration(int((datetime.now(UTC) - then).total_seconds()))


def human_duration(seconds: int) -> str:  # noqa: PLR0911  - one line per range
    """Kubernetes' short form: 90s, 5m30s, 3h, 2d4h."""
    if seconds < 0:
        return "0s" if seconds > -2 else "<invalid>"
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"


NAME = Column("Name", lambda o: get(o, "metadata.name", ""), format="name")
AGE = Column("Age", lambda o: age(get(o, "metadata.creationTimestamp")))
DEFAULT = (NAME, AGE)


def _roles(labels: Mapping[str, str]) -> str:
    """Of a node, by its labels, as kubectl's own table says them."""
    prefix = "node-role.kubernetes.io/"
    return ",".join(sorted(name.removeprefix(prefix) for name in labels if name.startswith(prefix))) or NONE


def _pairs(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _containers(path: str, field: str) -> Callable[[Object], str]:
    return lambda o: ",".join(str(item.get(field, "")) for item in get(o, path, []))


def _pod_statuses(pod: Object) -> list[Mapping[str, Any]]:
    return list(get(pod, "status.containerStatuses", []))


def pod_ready(pod: Object) -> str:
    ready = sum(1 for status in _pod_statuses(pod) if status.get("ready"))
    return f"{ready}/{len(get(pod, 'spec.containers', []))}"


def pod_status(pod: Object) -> str:
    """The one word for a Pod: a waiting or ended container's reason before the phase."""
    word = get(pod, "status.reason") or get(pod, "status.phase", "Unknown")
    starting = _init_word(pod)
    if starting:
        word = starting
    else:
        for status in reversed(_pod_statuses(pod)):
            state = status.get("state") or {}
            word = get(state, "waiting.reason") or _ended_word(state) or word
        running = any("running" in (s.get("state") or {}) and s.get("ready") for s in _pod_statuses(pod))
        if word == "Completed" and running:
            word = "Running"
    if get(pod, "metadata.deletionTimestamp"):
        return "Terminating"
    return str(word)


def _ended_word(state: Mapping[str, Any]) -> str | None:
    ended = state.get("terminated")
    if ended is None:
        return None
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _init_word(pod: Object) -> str | None:
    statuses = get(pod, "status.initContainerStatuses", [])
    for index, status in enumerate(statuses):
        state = status.get("state") or {}
        ended = state.get("terminated")
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if ended is not None:
            return f"Init:{_ended_word(state)}"
        reason = get(state, "waiting.reason")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{len(get(pod, 'spec.initContainers', []))}"
    return None


def pod_restarts(pod: Object) -> str:
    statuses = _pod_statuses(pod)
    count = sum(status.get("restartCount", 0) for status in statuses)
    ends = [get(status, "lastState.terminated.finishedAt") for status in statuses]
    last = max((end for end in ends if end), default=None)
    return f"{count} ({age(last)} ago)" if count and last else str(count)


POD = (
    NAME,
    Column("Ready", pod_ready),
    Column("Status", pod_status),
    Column("Restarts", pod_restarts),
    AGE,
    Column("IP", lambda o: get(o, "status.podIP", NONE), priority=1),
    Column("Node", lambda o: get(o, "spec.nodeName", NONE), priority=1),
    Column("Nominated Node", lambda o: get(o, "status.nominatedNodeName", NONE), priority=1),
    Column("Readiness Gates", lambda _: NONE, priority=1),
)


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A label selector as text: ``a=b,c in (d,e)``."""
    selector = selector or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or ():
        match term.get("operator"):
            case "In" | "NotIn" as operator:
                parts.append(f"{term['key']} {operator.lower()} ({','.join(sorted(term.get('values') or ()))})")
            case "Exists":
                parts.append(term["key"])
            case "DoesNotExist":
                parts.append("!" + term["key"])
    return ",".join(parts)


_TEMPLATE = (
    Column("Containers", _containers("spec.template.spec.containers", "name"), priority=1),
    Column("Images", _containers("spec.template.spec.containers", "image"), priority=1),
    Column("Selector", lambda o: selector_text(get(o, "spec.selector")) or NONE, priority=1),
)
DEPLOYMENT = (
    NAME,
    Column("Ready", lambda o: f"{get(o, 'status.readyReplicas', 0)}/{get(o, 'spec.replicas', 0)}"),
    Column("Up-to-date", lambda o: get(o, "status.updatedReplicas", 0)),
    Column("Available", lambda o: get(o, "status.availableReplicas", 0)),
    AGE,
    *_TEMPLATE,
)
REPLICA_SET = (
    NAME,
    Column("Desired", lambda o: get(o, "spec.replicas", 0), "integer"),
    Column("Current", lambda o: get(o, "status.replicas", 0), "integer"),
    Column("Ready", lambda o: get(o, "status.readyReplicas", 0), "integer"),
    AGE,
    *_TEMPLATE,
)


def _ports(service: Object) -> str:
    texts = []
    for port in get(service, "spec.ports", []):
        number = f"{port['port']}:{port['nodePort']}" if port.get("nodePort") else str(port["port"])
        texts.append(f"{number}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or NONE


SERVICE = (
    NAME,
    Column("Type", lambda o: get(o, "spec.type", "")),
    Column("Cluster-IP", lambda o: get(o, "spec.clusterIP", NONE)),
    Column("External-IP", lambda o: ",".join(get(o, "spec.externalIPs", [])) or get(o, "spec.externalName", NONE)),
    Column("Port(s)", _ports),
    AGE,
    Column("Selector", lambda o: _pairs(get(o, "spec.selector")), priority=1),
)
CONFIG_MAP = (NAME, Column("Data", lambda o: len(o.get("data") or {}) + len(o.get("binaryData") or {})), AGE)
SECRET = (
    NAME,
    Column("Type", lambda o: o.get("type", "")),
    Column("Data", lambda o: len(o.get("data") or {})),
    AGE,
)
NAMESPACE = (NAME, Column("Status", lambda o: get(o, "status.phase", "")), AGE)
SERVICE_ACCOUNT = (NAME, Column("Secrets", lambda o: len(o.get("secrets") or ())), AGE)


def _last_seen(event: Object) -> str:
    series = get(event, "series.lastObservedTime")
    return age(series or event.get("lastTimestamp") or event.get("eventTime"))


def _first_seen(event: Object) -> str:
    return age(event.get("firstTimestamp") or event.get("eventTime"))


def _source(event: Object) -> str:
    component, host = get(event, "source.component"), get(event, "source.host")
    if component or host:
        return ", ".join(part for part in (component, host) if part)
    return ", ".join(part for part in (event.get("reportingComponent"), event.get("reportingInstance")) if part)


EVENT = (
    Column("Last Seen", _last_seen),
    Column("Type", lambda o: o.get("type", "")),
    Column("Reason", lambda o: o.get("reason", "")),
    Column("Object", lambda o: f"{get(o, 'involvedObject.kind', '').lower()}/{get(o, 'involvedObject.name', '')}"),
    Column("Subobject", lambda o: get(o, "involvedObject.fieldPath", ""), priority=1),
    Column("Source", _source, priority=1),
    Column("Message", lambda o: str(o.get("message", "")).strip()),
    Column("First Seen", _first_seen, priority=1),
    Column("Count", lambda o: o.get("count", 0) or 1, priority=1),
    Column("Name", lambda o: get(o, "metadata.name", ""), format="name", priority=1),
)
LEASE = (NAME, Column("Holder", lambda o: get(o, "spec.holderIdentity", "")), AGE)
JOB = (
    NAME,
    Column(
        "Status",
        lambda o: next((c["type"] for c in get(o, "status.conditions", []) if c.get("status") == "True"), "Running"),
    ),
    Column("Completions", lambda o: f"{get(o, 'status.succeeded', 0)}/{get(o, 'spec.completions', 1)}"),
    Column("Duration", lambda o: age(get(o, "status.startTime")) if get(o, "status.startTime") else ""),
    AGE,
    *_TEMPLATE,
)
ENDPOINT_SLICE = (
    NAME,
    Column("AddressType", lambda o: o.get("addressType", "")),
    Column("Ports", lambda o: ",".join(str(port.get("port", "*")) for port in o.get("ports") or ()) or "<unset>"),
    Column(
        "Endpoints",
        lambda o: (
            ",".join(address for e in o.get("endpoints") or () for address in e.get("addresses") or ()) or "<unset>"
        ),
    ),
    AGE,
)
NODE = (
    NAME,
    Column(
        "Status",
        lambda o: (
            next(
                (
                    "Ready" if c.get("status") == "True" else "NotReady"
                    for c in get(o, "status.conditions", [])
                    if c.get("type") == "Ready"
                ),
                "Unknown",
            )
            + (",SchedulingDisabled" if get(o, "spec.unschedulable") else "")
        ),
    ),
    Column("Roles", lambda o: _roles(get(o, "metadata.labels", {}))),
    AGE,
    Column("Version", lambda o: get(o, "status.nodeInfo.kubeletVersion", "")),
)
ROLE = (NAME, Column("Created At", lambda o: get(o, "metadata.creationTimestamp", "")))
ROLE_BINDING = (NAME, Column("Role", lambda o: f"{get(o, 'roleRef.kind', '')}/{get(o, 'roleRef.name', '')}"), AGE)
CLAIM = (
    NAME,
    Column("Status", lambda o: get(o, "status.phase", "")),
    Column("Volume", lambda o: get(o, "spec.volumeName", "")),
    Column("Capacity", lambda o: get(o, "status.capacity.storage", "")),
    Column("Access Modes", lambda o: ",".join(get(o, "spec.accessModes", []))),
    AGE,
)


def custom_columns(definitions: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """A CRD version's ``additionalPrinterColumns`` after the name; without any, the age."""
    if not definitions:
        definitions = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    return (NAME, *(_custom_column(definition) for definition in definitions))


def _custom_column(definition: Mapping[str, Any]) -> Column:
    path, kind = str(definition["jsonPath"]), str(definition["type"])

    def cell(obj: Object) -> Any:
        value = json_path(obj, path)
        if value is None:
            return None
        if kind == "date":
            return age(value)
        return _text(value) if kind == "string" else value

    standard = {".metadata.creationTimestamp": "The time at which the object was created."}
    description = definition.get("description") or standard.get(
        path, f"Custom resource definition column (in JSONPath format): {path}"
    )
    return Column(
        str(definition["name"]),
        cell,
        kind,
        str(definition.get("format", "")),
        int(definition.get("priority", 0)),
        description,
    )


_STEP = re.compile(
    r"""\.([A-Za-z_][\w-]*(?:\\\.[\w-]+)*)|\['([^']+)'\]|\[(\*|\d+)\]|\[\?\(@\.(\w+)\s*==\s*["']([^"']*)["']\)\]"""
)


def json_path(obj: Any, path: str) -> Any:
    """The value of the JSONPath subset that printer columns use: of several the first, as API servers do; none is None."""
    values = [obj]
    rest = path
    while rest:
        match = _STEP.match(rest)
        if match is None:
            return None
        values = [below for value in values for below in _step(value, match)]
        rest = rest[match.end() :]
    return values[0] if values else None


def _text(value: Any) -> str:
    """As Go's JSONPath prints it: what is no text is JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _step(value: Any, match: re.Match[str]) -> list[Any]:
    name, quoted, index, key, wanted = match.groups()
    if name or quoted:
        found = value.get((name or quoted).replace("\\.", ".")) if isinstance(value, Mapping) else None
        return [] if found is None else [found]
    if not isinstance(value, list):
        return []
    if key:
        return [item for item in value if isinstance(item, Mapping) and str(item.get(key)) == wanted]
    if index == "*":
        return list(value)
    return value[int(index) : int(index) + 1]
