"""A Pod as the API stores it → the typed Pod that the runner works with."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from slipway.contract.quantity import parse_quantity
from slipway.kube.malformed import MALFORMED

Object = Mapping[str, Any]
ProbeKind = Literal["startup", "readiness", "liveness"]
DEFAULT_GRACE_S = 30.0
MIN_PERIOD_S = 0.1
MAX_PORT = 65535
FILE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
PROBE_KINDS: tuple[ProbeKind, ...] = ("startup", "readiness", "liveness")


class InvalidPod(Exception):
    """A Pod asks for something that this machine cannot do; the message names the field."""


@dataclass(frozen=True)
class Check:
    """What a probe or a hook does: exactly one of HTTP GET, TCP connect, command, gRPC health, or (a hook) a pause.

    ``host`` '' is the Pod.
    """

    how: Literal["http", "tcp", "exec", "grpc", "sleep"]
    port: int = 0
    host: str = ""
    path: str = "/"
    scheme: str = "http"
    headers: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    service: str = ""
    sleep_s: float = 0.0


@dataclass(frozen=True)
class Probe:
    check: Check
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True)
class Mount:
    volume: str
    path: str
    sub_path: str = ""
    is_read_only: bool = False


@dataclass(frozen=True)
class Resources:
    """``cpu`` is the limit, else the request, in cores; memory is the limit in bytes."""

    cpu: float | None = None
    memory_bytes: int | None = None
    raw: Object = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """``env`` and ``env_from`` stay as the API has them: they are resolved with ConfigMaps and Secrets at each start."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[Object, ...] = ()
    env_from: tuple[Object, ...] = ()
    mounts: tuple[Mount, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    port_numbers: tuple[int, ...] = ()
    probes: Mapping[ProbeKind, Probe] = field(default_factory=dict)
    pre_stop: Check | None = None
    post_start: Check | None = None
    falls_back_to_logs: bool = False  # the end of its output is the message of its failure
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True)
class Pod:
    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: Mapping[str, Object] = field(default_factory=dict)
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    grace_s: float = DEFAULT_GRACE_S
    service_account: str = "default"
    is_deleted: bool = False
    readiness_gates: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name

    def container(self, name: str) -> Container:
        return next(item for item in (*self.init_containers, *self.containers) if item.name == name)


def parse_pod(obj: Object) -> Pod:
    """Raises InvalidPod naming the field that cannot be honoured here."""
    meta, spec = obj["metadata"], obj["spec"]
    try:
        return Pod(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            labels=dict(meta.get("labels") or {}),
            annotations=dict(meta.get("annotations") or {}),
            containers=tuple(_container(item) for item in spec.get("containers") or ()),
            init_containers=tuple(_container(item) for item in spec.get("initContainers") or ()),
            volumes={_file_name(item["name"], "volumes"): item for item in spec.get("volumes") or ()},
            restart_policy=_restart_policy(spec.get("restartPolicy") or "Always"),
            grace_s=grace_s(obj),
            service_account=spec.get("serviceAccountName") or "default",
            is_deleted=bool(meta.get("deletionTimestamp")),
            readiness_gates=tuple(gate["conditionType"] for gate in spec.get("readinessGates") or ()),
        )
    except MALFORMED as exc:
        raise InvalidPod(f"{meta.get('namespace')}/{meta.get('name')}: {described(exc)}") from exc


def described(error: Exception) -> str:
    """A failure while an object was read, as a sentence."""
    return f"the field {error} is missing" if isinstance(error, KeyError) else str(error)


def _file_name(name: str, where: str) -> str:
    """The API's names are file names here."""
    if not FILE_NAME.fullmatch(name):
        raise InvalidPod(f"{where}: {name!r} is not a name: expected lower-case letters, digits and -")
    return name


def _restart_policy(text: str) -> Literal["Always", "OnFailure", "Never"]:
    match text:
        case "Always" | "OnFailure" | "Never":
            return text
    raise InvalidPod(f"restartPolicy: {text!r} is not one of Always, OnFailure, Never")


def grace_s(obj: Object) -> float:
    """A delete request may shorten what the spec says."""
    asked = obj["metadata"].get("deletionGracePeriodSeconds")
    declared = obj["spec"].get("terminationGracePeriodSeconds")
    chosen = asked if asked is not None else declared
    return DEFAULT_GRACE_S if chosen is None else max(0.0, float(chosen))


def _container(item: Object) -> Container:
    name = _file_name(item["name"], "containers")
    if item.get("restartPolicy"):
        raise InvalidPod(f"{name}: a restartPolicy of one container (a sidecar) is not supported here")
    numbers = [_number(port["containerPort"], f"{name}.ports") for port in item.get("ports") or ()]
    ports = {
        port["name"]: number for port, number in zip(item.get("ports") or (), numbers, strict=True) if port.get("name")
    }
    lifecycle = item.get("lifecycle") or {}
    return Container(
        name=name,
        image=item.get("image") or "",
        command=tuple(item.get("command") or ()),
        args=tuple(item.get("args") or ()),
        working_dir=item.get("workingDir") or "",
        env=tuple(item.get("env") or ()),
        env_from=tuple(item.get("envFrom") or ()),
        mounts=tuple(_mount(mount) for mount in item.get("volumeMounts") or ()),
        ports=ports,
        port_numbers=tuple(numbers),
        probes={
            kind: _probe(item[f"{kind}Probe"], ports=ports, where=f"{name}.{kind}Probe")
            for kind in PROBE_KINDS
            if item.get(f"{kind}Probe")
        },
        pre_stop=_hook(lifecycle.get("preStop"), ports=ports, where=f"{name}.lifecycle.preStop"),
        post_start=_hook(lifecycle.get("postStart"), ports=ports, where=f"{name}.lifecycle.postStart"),
        falls_back_to_logs=item.get("terminationMessagePolicy") == "FallbackToLogsOnError",
        resources=_resources(item.get("resources") or {}),
    )


def _mount(item: Object) -> Mount:
    if item.get("subPathExpr"):
        raise InvalidPod(f"volumeMounts[{item['name']}].subPathExpr is not supported here: use subPath")
    return Mount(
        volume=item["name"],
        path=item["mountPath"].rstrip("/") or "/",
        sub_path=item.get("subPath") or "",
        is_read_only=bool(item.get("readOnly")),
    )


def _probe(item: Object, *, ports: Mapping[str, int], where: str) -> Probe:
    check = _check(item, ports=ports, where=where)
    if check is None:
        raise InvalidPod(f"{where}: one of httpGet, tcpSocket, exec, grpc is needed")
    return Probe(
        check=check,
        initial_delay_s=float(item.get("initialDelaySeconds") or 0),
        period_s=max(MIN_PERIOD_S, float(item.get("periodSeconds") or 10)),
        timeout_s=max(MIN_PERIOD_S, float(item.get("timeoutSeconds") or 1)),
        success_threshold=int(item.get("successThreshold") or 1),
        failure_threshold=int(item.get("failureThreshold") or 3),
    )


def _hook(item: Object | None, *, ports: Mapping[str, int], where: str) -> Check | None:
    """As a probe does it, or a pause: https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/."""
    if not item or not item.get("sleep"):
        return _check(item, ports=ports, where=where, known="exec, httpGet, sleep, tcpSocket")
    seconds = float(item["sleep"]["seconds"])
    if not 0 <= seconds < math.inf:
        raise InvalidPod(f"{where}.sleep.seconds: {seconds:g} is not a time: expected 0 or more")
    return Check("sleep", sleep_s=seconds)


def _check(
    item: Object | None, *, ports: Mapping[str, int], where: str, known: str = "httpGet, tcpSocket, exec, grpc"
) -> Check | None:
    if not item:
        return None
    if http := item.get("httpGet"):
        headers = tuple((header["name"], header["value"]) for header in http.get("httpHeaders") or ())
        return Check(
            "http",
            port=_port(http["port"], ports, where),
            host=http.get("host") or "",
            path="/" + (http.get("path") or "/").lstrip("/"),
            scheme=(http.get("scheme") or "HTTP").lower(),
            headers=headers,
        )
    if tcp := item.get("tcpSocket"):
        return Check("tcp", port=_port(tcp["port"], ports, where), host=tcp.get("host") or "")
    if command := item.get("exec"):
        return Check("exec", command=tuple(command.get("command") or ()))
    if grpc := item.get("grpc"):
        return Check("grpc", port=_port(grpc["port"], ports, where), service=grpc.get("service") or "")
    raise InvalidPod(f"{where}: one of {known} is needed")


def _port(value: object, ports: Mapping[str, int], where: str) -> int:
    text = str(value)
    if text.isdigit():
        return _number(text, where)
    if text not in ports:
        raise InvalidPod(f"{where}.port: no container port is named {text!r}; there are: {sorted(ports) or 'none'}")
    return ports[text]


def _number(value: object, where: str) -> int:
    number = int(str(value))
    if not 0 < number <= MAX_PORT:
        raise InvalidPod(f"{where}: {number} is not a port: expected 1 to {MAX_PORT}")
    return number


def _resources(raw: Object) -> Resources:
    limits, requests = raw.get("limits") or {}, raw.get("requests") or {}
    cpu = limits.get("cpu", requests.get("cpu"))
    memory = limits.get("memory")
    return Resources(
        cpu=None if cpu is None else float(parse_quantity(cpu)),
        memory_bytes=None if memory is None else math.ceil(parse_quantity(memory)),
        raw=raw,
    )
