"""Containers and Pod templates (contract sections 2.2 to 2.5)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from slipway.contract.annotations import ENGINE_VARIABLE
from slipway.contract.defaulting import is_prepackaged, port_of
from slipway.contract.model_digests import digest_of
from slipway.contract.names import ORCHESTRATOR, claim_volume_name, initializer_name, model_volume_name
from slipway.contract.predictor_servers import UNPICKLING
from slipway.contract.sdep import Json, PredictiveUnit, PredictorSpec, SeldonDeployment
from slipway.controller.ending import executor_options, grace_s, outliving
from slipway.controller.facts import Facts
from slipway.controller.meta import GRPC_PORT, HTTP_PORT, Object
from slipway.controller.pod_labels import labels_json
from slipway.controller.pod_security import OF_THE_POD, of_the_pod, own_secured, secured
from slipway.controller.published_servers import (
    MODELS_PATH,
    loads_itself,
    server_env,
    server_parameters,
    sidecars,
    with_server,
)
from slipway.controller.settings import Settings

PVC_PATH = "/mnt/pvc"
PREDICTOR_PATH = "/etc/slipway/predictor"
PREDICTOR_KEY = "predictor.json"
CERT_PATH = "/cert/"
METRICS_PATH = "/prometheus"
STARTUP_FAILURES = 600  # with a period of one second: ten minutes to load a model
PODINFO = {
    "name": "seldon-podinfo",
    "downwardAPI": {
        "items": [{"path": "annotations", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations"}}]
    },
}
ANNOTATIONS_FILE = "/etc/podinfo/annotations"
OWN_INITIALIZER = re.compile(r"(^|/)slipway/storage-initializer([:@]|$)")
IDENTITY = frozenset(
    {
        "PREDICTIVE_UNIT_ID",
        "MLSERVER_MODEL_NAME",
        "PREDICTIVE_UNIT_IMAGE",
        "PREDICTOR_ID",
        "PREDICTOR_LABELS",
        "SELDON_DEPLOYMENT_ID",
        "SELDON_EXECUTOR_ENABLED",
    }
)
"""Variables that say who a container is; a manifest cannot say otherwise."""


def node_containers(
    predictor: PredictorSpec, index: int, sdep: SeldonDeployment, facts: Facts
) -> tuple[list[Object], list[Object], list[Object]]:
    """(containers, initContainers, volumes) of one componentSpec, node containers completed."""
    component = predictor.component_specs[index]
    nodes = {node.name: node for node in predictor.graph.walk()}
    pod = of_the_pod(component.spec)
    initializers = [secured(item, pod) for item in component.spec.get("initContainers") or ()]
    containers, volumes = [], []
    for container in component.containers:
        node = nodes.get(container["name"])
        if node is None:
            containers.append(secured(_common(container, predictor), pod))
            continue
        completed = _node_container(container, node, predictor, sdep, metrics_name=facts.settings.ports.metrics_name)
        if loads_itself(node, sdep):
            completed["envFrom"] = [*(completed.get("envFrom") or ()), *_model_secret(node, facts)]
        beside = sidecars(node, sdep, facts.settings.predictor_servers, _read_only(_model_mounts(node)))
        containers += [secured(outliving(item, facts.settings), pod) for item in (completed, *beside)]
        if _is_fetched(node, sdep):
            volumes.extend(_model_volumes(node))
            if not _has(initializers, initializer_name(node.name)):
                initializers.append(_secured_initializer(_initializer(node, predictor, facts), pod))
    return containers, initializers, volumes


def _is_fetched(node: PredictiveUnit, sdep: SeldonDeployment) -> bool:
    return bool(node.model_uri) and not loads_itself(node, sdep)


def _read_only(mounts: Iterable[Json]) -> list[Object]:
    return [{**mount, "readOnly": True} for mount in mounts]


def _has(items: Iterable[Json], name: str) -> bool:
    return any(item.get("name") == name for item in items)


def _common(container: Json, predictor: PredictorSpec) -> Object:
    """What every container gets that does not say it itself."""
    mounts = list(container.get("volumeMounts") or ())
    if not _has(mounts, "seldon-podinfo"):
        mounts.append({"name": "seldon-podinfo", "mountPath": "/etc/podinfo"})
    env = list(container.get("env") or ())
    if secret := predictor.ssl.get("certSecretName"):
        mounts.append({"name": secret, "mountPath": CERT_PATH, "readOnly": True})
        env.append({"name": "SELDON_CERT_MOUNT_PATH", "value": CERT_PATH})
    defaults = {
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the contract's File loses a component's own last words
    }
    return {**defaults, **container, "volumeMounts": mounts, "env": env}


def _node_container(
    container: Json, node: PredictiveUnit, predictor: PredictorSpec, sdep: SeldonDeployment, *, metrics_name: str
) -> Object:
    completed = with_server(_common(container, predictor), node, sdep)
    completed["env"] = _merged(completed["env"], _node_env(container, node, predictor, sdep, metrics_name=metrics_name))
    if _is_fetched(node, sdep):
        completed["volumeMounts"] += _read_only(_model_mounts(node))
    port = {"port": node.endpoint.service_port if node.endpoint else port_of(container, "http")}
    completed.setdefault("startupProbe", _probe({"tcpSocket": port}, period_s=1, failures=STARTUP_FAILURES))
    completed.setdefault("readinessProbe", _probe({"tcpSocket": port}, period_s=5, failures=3))
    completed.setdefault("livenessProbe", _probe({"tcpSocket": port}, period_s=5, failures=3))
    return completed


def _merged(given: Iterable[Json], ours: Iterable[Json]) -> list[Object]:
    """The container's own variables, then ours: its own win, except for IDENTITY."""
    kept = [dict(item) for item in given if item["name"] not in IDENTITY]
    names = {item["name"] for item in kept}
    return [*kept, *(dict(item) for item in ours if item["name"] not in names)]


def _probe(handler: Object, *, period_s: int, failures: int, timeout_s: int = 1) -> Object:
    return {**handler, "periodSeconds": period_s, "timeoutSeconds": timeout_s, "failureThreshold": failures}


def _node_env(
    container: Json, node: PredictiveUnit, predictor: PredictorSpec, sdep: SeldonDeployment, *, metrics_name: str
) -> list[Object]:
    http, grpc, metrics = (port_of(container, name) for name in ("http", "grpc", metrics_name))
    service_port = node.endpoint.service_port if node.endpoint else http
    env = {
        "PREDICTIVE_UNIT_SERVICE_PORT": str(service_port),
        "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": str(http),
        "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": str(grpc),
        "MLSERVER_HTTP_PORT": str(http),
        "MLSERVER_GRPC_PORT": str(grpc),
    }
    parameters = [parameter.to_json() for parameter in node.parameters]
    if is_prepackaged(node.implementation):
        ours = server_parameters(node, sdep)
        names = {item["name"] for item in ours}
        parameters = [item for item in parameters if item["name"] not in names] + ours
    if parameters:
        env["PREDICTIVE_UNIT_PARAMETERS"] = json.dumps(parameters, separators=(",", ":"))
    if _is_fetched(node, sdep):
        env["MLSERVER_MODEL_URI"] = MODELS_PATH
    env |= server_env(node, sdep)
    env |= {
        "PREDICTIVE_UNIT_ID": node.name,
        "MLSERVER_MODEL_NAME": node.name,
        "PREDICTIVE_UNIT_IMAGE": str(container.get("image", "")),
        "PREDICTOR_ID": predictor.name,
        "PREDICTOR_LABELS": labels_json(predictor.labels),
        "SELDON_DEPLOYMENT_ID": sdep.name,
        "SELDON_EXECUTOR_ENABLED": "true",
        # said although it is the default: where paths are translated, they are found in variables and arguments only
        "SLIPWAY_ANNOTATIONS_FILE": ANNOTATIONS_FILE,
    }
    if metrics:
        env |= {
            "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": str(metrics),
            "PREDICTIVE_UNIT_METRICS_ENDPOINT": METRICS_PATH,
            "MLSERVER_METRICS_PORT": str(metrics),
            "MLSERVER_METRICS_ENDPOINT": METRICS_PATH,
        }
    return [{"name": name, "value": value} for name, value in env.items()]


def _claim(node: PredictiveUnit) -> tuple[str, str] | None:
    """(claim, path in it) of a ``pvc://claim/path`` URI."""
    parts = urlsplit(node.model_uri)
    return (parts.netloc, parts.path.lstrip("/")) if parts.scheme == "pvc" else None


def _model_volumes(node: PredictiveUnit) -> list[Object]:
    volumes: list[Object] = [{"name": model_volume_name(node.name), "emptyDir": {}}]
    if claim := _claim(node):
        volumes.append({"name": claim_volume_name(node.name), "persistentVolumeClaim": {"claimName": claim[0]}})
    return volumes


def _model_mounts(node: PredictiveUnit) -> list[Object]:
    mounts: list[Object] = [{"name": model_volume_name(node.name), "mountPath": MODELS_PATH}]
    if _claim(node):
        mounts.append({"name": claim_volume_name(node.name), "mountPath": PVC_PATH, "readOnly": True})
    return mounts


def _initializer(node: PredictiveUnit, predictor: PredictorSpec, facts: Facts) -> Object:
    """The init container that fills /mnt/models."""
    uri, env = node.model_uri, []
    if model := facts.models.get((predictor.name, node.name)):
        uri = model.uri
        env = [{"name": "SLIPWAY_MODEL_SOURCE", "value": model.source}]
        if digest := model.digest or digest_of(predictor, node.name, is_registered=True):
            env.append({"name": "SLIPWAY_MODEL_DIGEST", "value": digest})
    elif digest := digest_of(predictor, node.name):
        env = [{"name": "SLIPWAY_MODEL_DIGEST", "value": digest}]
    elif node.implementation in UNPICKLING:  # without a digest the initializer refuses it, and says which to add
        env = [{"name": "SLIPWAY_UNPICKLED_BY", "value": f"{predictor.name}/{node.name}"}]
    if claim := _claim(node):
        uri = f"{PVC_PATH}/{claim[1]}"
    return {
        "name": initializer_name(node.name),
        "image": node.storage_initializer_image or facts.settings.storage_initializer_image,
        "imagePullPolicy": "IfNotPresent",
        "args": [uri, MODELS_PATH],
        "env": env,
        "envFrom": _model_secret(node, facts),
        "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "volumeMounts": _model_mounts(node),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _secured_initializer(container: Object, pod: Json) -> Object:
    """Another's image may write anywhere, and its user is not known."""
    is_ours = OWN_INITIALIZER.search(container["image"])
    return own_secured(container, pod) if is_ours else secured(container, pod)


def _model_secret(node: PredictiveUnit, facts: Facts) -> list[Object]:
    """``envFrom`` of whoever reads the model: keys and address of its place."""
    name = node.env_secret_ref_name or facts.settings.default_model_secret[1]
    return [{"secretRef": {"name": name, "optional": not node.env_secret_ref_name}}]


def orchestrator_container(predictor: PredictorSpec, sdep: SeldonDeployment, facts: Facts, base: Json) -> Object:
    """The executor of one predictor, reading its graph from the mounted ConfigMap, in a Pod of ``base``."""
    is_tls = bool(predictor.ssl.get("certSecretName"))
    probe = {"port": "http", "scheme": "HTTPS" if is_tls else "HTTP"}
    ready, live = {"httpGet": {"path": "/ready", **probe}}, {"httpGet": {"path": "/live", **probe}}
    default_resources = {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}}
    container = {
        "name": ORCHESTRATOR,
        "image": facts.settings.executor_image,
        "args": _orchestrator_args(predictor, sdep, facts.settings),
        "env": _orchestrator_env(predictor, sdep, facts.settings),
        "ports": [
            # no second entry `metrics` with the same number: server-side apply refuses duplicate keys
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"},
        ],
        "resources": predictor.svc_orch_spec.get("resources") or default_resources,
        "startupProbe": _probe(ready, period_s=1, failures=STARTUP_FAILURES, timeout_s=2),
        "readinessProbe": _probe(ready, period_s=2, failures=3, timeout_s=5),
        "livenessProbe": _probe(live, period_s=5, failures=6, timeout_s=10),
        "volumeMounts": [{"name": "slipway-predictor", "mountPath": PREDICTOR_PATH, "readOnly": True}],
    }
    return own_secured(_common(container, predictor), of_the_pod(base))


def _orchestrator_args(predictor: PredictorSpec, sdep: SeldonDeployment, settings: Settings) -> list[str]:
    def option(name: str, default: str) -> str:
        return sdep.annotation(f"seldon.io/executor-logger-{name}") or default

    pairs = {
        "sdep": sdep.name,
        "namespace": sdep.namespace,
        "predictor": predictor.name,
        "http_port": str(HTTP_PORT),
        "grpc_port": str(GRPC_PORT),
        "protocol": sdep.protocol,
        "transport": sdep.transport,
        "prometheus_path": METRICS_PATH,
        "server_type": sdep.server_type,
        "log_work_buffer_size": option("queue-size", "10000"),
        "log_write_timeout_ms": option("write-timeout-ms", "2000"),
        "full_health_checks": "false",
        "predictor-file": f"{PREDICTOR_PATH}/{PREDICTOR_KEY}",
        "annotations-file": ANNOTATIONS_FILE,
        **executor_options(settings),
    }
    return [word for name, value in pairs.items() for word in (f"--{name}", value)]


def _orchestrator_env(predictor: PredictorSpec, sdep: SeldonDeployment, settings: Settings) -> list[Object]:
    env = {"REQUEST_LOGGER_DEFAULT_ENDPOINT": {"value": settings.log_url}}
    for name, value in sdep.annotations.items():
        if name.startswith(ENGINE_VARIABLE) and name != "seldon.io/engine-separate-pod":
            env[name.removeprefix(ENGINE_VARIABLE).upper().replace("-", "_")] = {"value": value}
    for item in predictor.svc_orch_spec.get("env") or ():
        env[item["name"]] = {key: value for key, value in item.items() if key != "name"}
    return [{"name": name, **value} for name, value in env.items()]


def pod_spec(
    base: Json,
    containers: list[Object],
    initializers: list[Object],
    volumes: list[Object],
    predictor: PredictorSpec,
    settings: Settings,
) -> Object:
    """A PodSpec: what the componentSpec says, completed."""
    given = list(base.get("volumes") or ())
    all_volumes = [*given, *(volume for volume in (*volumes, PODINFO) if not _has(given, volume["name"]))]
    if secret := predictor.ssl.get("certSecretName"):
        all_volumes.append({"name": secret, "secret": {"secretName": secret}})
    spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": grace_s(settings),
        "securityContext": dict(OF_THE_POD),
        **base,
        "containers": containers,
        "volumes": all_volumes,
    }
    for node in predictor.graph.walk():
        if node.service_account_name and is_prepackaged(node.implementation) and _has(containers, node.name):
            spec["serviceAccountName"] = node.service_account_name
    if initializers:
        spec["initContainers"] = initializers
    return spec
