"""Everything that a photo goes through on its way, as processes: gateway, executor, transformer with its decoder, detector."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks import gateway, networks, processes
from benchmarks.processes import HOST, REPOSITORY, Http
from model_wrappers.darknet.folder import ModelFolder

BINARY, ANYWAY = "binary", "json"
"""The two SeldonDeployments: nodes that are called with protobuf, and the same nodes called with JSON."""
EXECUTORS = {BINARY: "slipway.executor", ANYWAY: "benchmarks.json_executor"}
NODES = {"image-transformer": "TRANSFORMER", "yolo-detector": "MODEL"}
COMPONENTS = ("model_wrappers.image_transformer.ImageTransformer", "model_wrappers.yolo_detector.YoloDetector")
GATEWAY, EXECUTOR = "gateway", "executor"


Ports = tuple[int, int]
"""Of REST and gRPC."""


@dataclass(frozen=True)
class Served:
    """``port`` is the gateway's; ``pids`` of what BINARY goes through, by what it is; ``model`` is what the detector has."""

    port: int
    pids: dict[str, list[int]]
    model: ModelFolder


@contextlib.contextmanager
def serving(
    name: str, detector: Mapping[str, str] = MappingProxyType({}), *, is_bare: bool = False
) -> Iterator[Served]:
    """Components, two executors (one calls all nodes with JSON) and the gateway, once all answer.

    ``name``: of a cfg. ``detector``: the detector's environment besides. ``is_bare``: relays in the places of executor (one)
    and microservices.
    """
    programs = {BINARY: "benchmarks.bare"} if is_bare else EXECUTORS
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = _model_folder(name, folder / "model")
        size = f"{networks.SIDE}x{networks.SIDE}"
        parameters = (
            [{"name": "input", "value": size, "type": "STRING"}],
            [{"name": "model_uri", "value": str(folder / "model"), "type": "STRING"}],
        )
        nodes = [
            stack.enter_context(_component(node, component, given, environment, is_bare=is_bare))
            for node, component, given, environment in zip(NODES, COMPONENTS, parameters, ({}, detector), strict=True)
        ]
        predictor = _predictor([ports for ports, _ in nodes], folder)
        executors = {
            deployment: stack.enter_context(_executor(program, predictor, folder))
            for deployment, program in programs.items()
        }
        ports = {deployment: found for deployment, (found, _) in executors.items()}
        port, envoys = stack.enter_context(gateway.gateway(folder, ports))
        pids = {GATEWAY: envoys, EXECUTOR: [pid for _, pid in executors.values()]}
        pids |= {node: [pid] for node, (_, pid) in zip(NODES, nodes, strict=True)}
        yield Served(port, pids, model)


def _model_folder(name: str, folder: Path) -> ModelFolder:
    """At 416 pixels; COCO's 80 names."""
    folder.mkdir()
    names = folder / "coco.names"
    names.write_bytes((networks.SHARED_DATA / "names" / "coco.names").read_bytes())
    found = networks.model_files(name, folder)
    weights = folder / found.weights_path.name
    if not weights.exists():
        weights.symlink_to(found.weights_path)
    return ModelFolder(found.cfg_path, weights, names)


@contextlib.contextmanager
def _component(
    node: str, component: str, parameters: list[dict[str, str]], besides: Mapping[str, str], *, is_bare: bool
) -> Iterator[tuple[Ports, int]]:
    """REST and gRPC port, and pid."""
    ports = processes.free_ports(3)
    if is_bare:
        argv = processes.module("benchmarks.bare", "component", component, ports[0])
    else:
        argv = processes.module("slipway.microservice", *processes.microservice(component, ports))
    environment = {
        "SLIPWAY_POD_IP": HOST,
        "PREDICTIVE_UNIT_ID": node,
        "PREDICTIVE_UNIT_PARAMETERS": json.dumps(parameters),
        **besides,
    }
    with processes.process(argv, folder=REPOSITORY, environment=environment) as pid:
        http = Http(ports[0])
        processes.wait_until(lambda: http.answers("/health/ping"), what=node)
        http.close()
        yield (ports[0], ports[1]), pid


def _predictor(ends: Sequence[Ports], folder: Path) -> Path:
    below: list[dict[str, Any]] = []
    for (name, kind), (http, rpc) in reversed(list(zip(NODES.items(), ends, strict=True))):
        endpoint = {"service_host": HOST, "service_port": http, "httpPort": http, "grpcPort": rpc}
        below = [{"name": name, "type": kind, "endpoint": endpoint, "children": below}]
    file = folder / "predictor.json"
    file.write_text(json.dumps({"name": gateway.PREDICTOR, "graph": below[0]}))
    return file


@contextlib.contextmanager
def _executor(name: str, predictor: Path, folder: Path) -> Iterator[tuple[Ports, int]]:
    http, rpc = processes.free_ports(2)
    if name == "benchmarks.bare":
        argv = processes.module(name, "executor", predictor, http)
    else:
        argv = processes.module(name, "--predictor-file", predictor, "--http-port", http, "--grpc-port", rpc)
    with processes.process(argv, folder=folder, environment={"SLIPWAY_POD_IP": HOST}) as pid:
        processes.wait_until(lambda: Http(http).answers("/ready"), what=f"{name}: /ready")
        yield (http, rpc), pid
