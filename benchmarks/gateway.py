"""The gateway of one machine in front of an executor: the two Envoys, with what the controller writes for a deployment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks import processes
from benchmarks.processes import HOST, REPOSITORY, Http
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.onebox.mesh.bootstrap import envoy_argv
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.mesh.loop import site
from slipway.onebox.mesh.render import render
from slipway.onebox.mesh.services import SERVICE_NAME_LABEL
from slipway.onebox.mesh.translate import Objects, translate
from slipway.onebox.mesh.write import Publisher, prepare
from slipway.onebox.paths import Paths

PREDICTOR = "main"
NAMESPACE = "default"
LOWEST_PORT = 1024
READY = "/slipway/deployments.json"

Object = dict[str, Any]


@contextlib.contextmanager
def gateway(folder: Path, executors: Mapping[str, tuple[int, int]]) -> Iterator[tuple[int, list[int]]]:
    """Both Envoys until the block ends: their port, their pids. ``executors``: SeldonDeployment → REST and gRPC port."""
    layout = Layout(Paths(folder / "gateway"))
    prepare(layout)
    (port,) = processes.free_ports(1)
    here = replace(site(HOST, port), lowest_port=LOWEST_PORT)
    mesh = translate(objects(executors), here)
    asyncio.run(Publisher(layout).publish(render(mesh, layout)))
    try:
        with contextlib.ExitStack() as stack:
            argvs = [envoy_argv(index, layout.paths) for index in ENVOYS]
            pids = [stack.enter_context(processes.process(argv, folder=folder, environment={})) for argv in argvs]
            processes.wait_until(lambda: Http(port).answers(READY), what="the gateway")
            yield port, pids
    finally:
        for index in ENVOYS:
            layout.admin_socket(index).unlink(missing_ok=True)
        layout.paths.sockets.rmdir()


def predictions(name: str) -> str:
    """The gateway's path of a SeldonDeployment's predictions."""
    return f"/seldon/{NAMESPACE}/{name}/api/v1.0/predictions"


def objects(executors: Mapping[str, tuple[int, int]]) -> Objects:
    """What the API would hold."""
    made = [item for name, ports in executors.items() for item in _of_deployment(name, *ports)]
    return Objects(
        virtual_services=_only(made, "VirtualService"),
        destination_rules=_only(made, "DestinationRule"),
        gateways=(yaml.safe_load((REPOSITORY / "istio" / "base" / "gateway.yaml").read_text()),),
        services=_only(made, "Service"),
        endpoint_slices=_only(made, "EndpointSlice"),
        pods=_only(made, "Pod"),
    )


def _only(objects: list[Object], kind: str) -> tuple[Object, ...]:
    return tuple(item for item in objects if item["kind"] == kind)


def _of_deployment(name: str, http: int, rpc: int) -> Iterator[Object]:
    """The controller's objects, and the Pod with its endpoints that the runner would write."""
    container = {"name": "model", "image": "benchmark:1"}
    manifest = {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "predictors": [
                {
                    "name": PREDICTOR,
                    "traffic": 100,
                    "graph": {"name": "model", "type": "MODEL"},
                    "componentSpecs": [{"spec": {"containers": [container]}}],
                }
            ]
        },
    }
    yield from desired(SeldonDeployment.from_json(manifest), Facts())
    service, pod = f"{name}-{PREDICTOR}", f"{name}-pod"
    labels = {"version": PREDICTOR}
    yield {"kind": "Pod", "metadata": {"name": pod, "namespace": NAMESPACE, "labels": labels}, "spec": {}}
    yield {
        "kind": "EndpointSlice",
        "metadata": {"name": service, "namespace": NAMESPACE, "labels": {SERVICE_NAME_LABEL: service}},
        "ports": [{"name": "http", "port": http}, {"name": "grpc", "port": rpc}],
        "endpoints": [{"addresses": [HOST], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": pod}}],
    }
