"""Containers of prepackaged servers that others publish: the flags, variables and probes that theirs need (contract 5).

What serves is an image of the cluster's choice (``--predictor-servers``); one machine has none of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from slipway.contract.annotations import is_true
from slipway.contract.defaulting import port_of
from slipway.contract.predictor_servers import Servers, image_of
from slipway.contract.sdep import Json, PredictiveUnit, SeldonDeployment
from slipway.controller.meta import Object

MODELS_PATH = "/mnt/models"
TRITON, TENSORFLOW, HUGGINGFACE = "TRITON_SERVER", "TENSORFLOW_SERVER", "HUGGINGFACE_SERVER"
MLSERVER_RUNTIMES = {
    "SKLEARN_SERVER": "mlserver_sklearn.SKLearnModel",
    "XGBOOST_SERVER": "mlserver_xgboost.XGBoostModel",
    "MLFLOW_SERVER": "mlserver_mlflow.MLflowRuntime",
    HUGGINGFACE: "mlserver_huggingface.HuggingFaceRuntime",
    "TEMPO_SERVER": "tempo.mlserver.InferenceRuntime",
}
TRITON_FLAGS = ("model_control_mode", "load_model", "strict_model_config")
"""Parameters that become flags where Triton loads its models itself."""
TFSERVING = "tfserving"
TFSERVING_GRPC_PORT, TFSERVING_REST_PORT = 2000, 2001
NO_INITIALIZER = "seldon.io/no-storage-initializer"
V2 = ("v2", "kfserving")


def loads_itself(node: PredictiveUnit, sdep: SeldonDeployment) -> bool:
    """Whether the server reads ``modelUri`` itself: Triton, where the SeldonDeployment says so."""
    return node.implementation == TRITON and is_true(sdep.annotations.get(NO_INITIALIZER))


def server_parameters(node: PredictiveUnit, sdep: SeldonDeployment) -> list[dict[str, str]]:
    """What a prepackaged node's container gets besides the manifest's own parameters; later names win."""
    if node.implementation == TENSORFLOW and sdep.protocol == "seldon":
        given = {parameter.name for parameter in node.parameters}
        ours = {
            "rest_endpoint": f"http://0.0.0.0:{TFSERVING_REST_PORT}",
            "grpc_endpoint": f"0.0.0.0:{TFSERVING_GRPC_PORT}",
        }
        added = [_text(name, value) for name, value in ours.items() if name not in given]
        return [*added, _text("model_name", node.name)]
    return [_text("model_uri", MODELS_PATH)]


def _text(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value, "type": "STRING"}


def server_env(node: PredictiveUnit, sdep: SeldonDeployment) -> dict[str, str]:
    """Variables of MLServer, which serves these implementations in V2; our own servers read none of them."""
    if sdep.protocol not in V2 or node.implementation not in MLSERVER_RUNTIMES:
        return {}
    env = {"MLSERVER_MODEL_IMPLEMENTATION": MLSERVER_RUNTIMES[node.implementation], "MLSERVER_MODEL_VERSION": "v1"}
    if node.implementation == HUGGINGFACE:
        env |= {"MLSERVER_PARALLEL_WORKERS": "0", "XDG_CACHE_HOME": "/opt/mlserver"}
    return env


def with_server(container: Object, node: PredictiveUnit, sdep: SeldonDeployment) -> Object:
    """Arguments and probes of the server; what the manifest's own container says stays."""
    completed = dict(container)
    if args := list(_args(container, node, sdep)):
        completed.setdefault("args", args)
    if sdep.protocol in V2 and (node.implementation in MLSERVER_RUNTIMES or node.implementation == TRITON):
        for probe, path in (("readinessProbe", "/v2/health/ready"), ("livenessProbe", "/v2/health/live")):
            check = {"httpGet": {"path": path, "port": "http"}}
            completed.setdefault(probe, {**check, "periodSeconds": 5, "timeoutSeconds": 1, "failureThreshold": 3})
    return completed


def _args(container: Json, node: PredictiveUnit, sdep: SeldonDeployment) -> Iterator[str]:
    http, grpc = port_of(container, "http"), port_of(container, "grpc")
    if node.implementation == TENSORFLOW and sdep.protocol == "tensorflow":
        yield from _tensorflow_args(node, grpc=grpc, rest=http)
    if node.implementation == TRITON:
        repository = node.model_uri if loads_itself(node, sdep) else MODELS_PATH
        yield "/opt/tritonserver/bin/tritonserver"  # the image's entrypoint starts what it is given
        yield from (f"--grpc-port={grpc}", f"--http-port={http}", f"--model-repository={repository}")
        flags = {"strict_model_config": "false"}
        if loads_itself(node, sdep):
            flags |= {item.name: item.value for item in node.parameters if item.name in TRITON_FLAGS}
        yield from (f"--{name.replace('_', '-')}={value}" for name, value in flags.items())


def _tensorflow_args(node: PredictiveUnit, *, grpc: int, rest: int) -> Iterator[str]:
    yield from (f"--port={grpc}", f"--rest_api_port={rest}")
    yield from (f"--model_name={node.name}", f"--model_base_path={MODELS_PATH}")


def sidecars(node: PredictiveUnit, sdep: SeldonDeployment, servers: Servers, mounts: list[Object]) -> list[Object]:
    """TF Serving itself, beside the proxy that speaks the seldon protocol. ``mounts``: of the model, read-only."""
    if node.implementation != TENSORFLOW or sdep.protocol != "seldon":
        return []
    return [
        {
            "name": TFSERVING,
            "image": image_of(servers, TENSORFLOW, "tensorflow"),
            "imagePullPolicy": "IfNotPresent",
            "args": list(_tensorflow_args(node, grpc=TFSERVING_GRPC_PORT, rest=TFSERVING_REST_PORT)),
            "ports": [
                {"name": "tfgrpc", "containerPort": TFSERVING_GRPC_PORT, "protocol": "TCP"},
                {"name": "tfrest", "containerPort": TFSERVING_REST_PORT, "protocol": "TCP"},
            ],
            "volumeMounts": mounts,
        }
    ]
