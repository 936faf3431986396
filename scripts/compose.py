"""compose.yaml's generated files: the graph of seldon/base/yolo, and the gateway's Envoy configuration for it.

They are what the controller and the mesh of one machine make of the same manifests; a test compares them with the files.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway.contract.names import predictor_service_name
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.pods import PREDICTOR_KEY
from slipway.controller.settings import ONE_MACHINE
from slipway.onebox.mesh.bootstrap import bootstrap, envoy_argv
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.render import discovery_response, render
from slipway.onebox.mesh.services import SERVICE_NAME_LABEL
from slipway.onebox.mesh.translate import Objects, Site, translate
from slipway.onebox.paths import Paths
from slipway.registry import ResolvedModel, parse_model_reference

REPOSITORY = Path(__file__).resolve().parents[1]
MANIFEST = REPOSITORY / "seldon" / "base" / "yolo" / "seldondeployment.yaml"
GATEWAY = REPOSITORY / "istio" / "base" / "gateway.yaml"
POD_ADDRESS = "172.30.88.10"
"""The address that compose.yaml gives to the containers of the Pod, which share it as in a cluster."""
GATEWAY_PORT = 8080
HOME = Path("/etc/slipway")
"""Where the gateway's container has its files."""
SOCKET = "/tmp/envoy.sock"  # noqa: S108  - a tmpfs of the container's own
Object = dict[str, Any]


@dataclass(frozen=True)
class InContainer(Layout):
    """One Envoy, whose access log is the container's."""

    def access_log(self, index: int) -> Path:  # noqa: ARG002  - there is one Envoy
        return Path("/dev/stdout")


LAYOUT = InContainer(Paths(HOME))


def objects() -> list[Object]:
    """What the controller makes of the base. No registry is asked: the initializer does that itself."""
    manifest = yaml.safe_load(MANIFEST.read_text())
    manifest["metadata"]["uid"] = "compose"
    sdep = SeldonDeployment.from_json(manifest)
    models = {
        (predictor.name, node.name): _unresolved(node.model_uri)
        for predictor in sdep.predictors
        for node in predictor.graph.walk()
        if node.model_uri
    }
    return desired(sdep, Facts(ONE_MACHINE, models=models))


def _unresolved(uri: str) -> ResolvedModel:
    named = parse_model_reference(uri)
    return ResolvedModel(named.name, named.version or "", None, uri)


def pod_template() -> Object:
    """The only Pod of the graph."""
    (deployment,) = (obj for obj in objects() if obj["kind"] == "Deployment")
    template: Object = deployment["spec"]["template"]
    return template


def files() -> Mapping[str, str]:
    """Path below compose/ → text."""
    made = objects()
    (graph,) = (obj for obj in made if obj["kind"] == "ConfigMap")
    annotations = pod_template()["metadata"]["annotations"]
    return {
        "pod/predictor.json": _text(json.loads(graph["data"][PREDICTOR_KEY])),
        # the form of the downward API's files
        "pod/annotations": "".join(f"{key}={json.dumps(value)}\n" for key, value in sorted(annotations.items())),
        **_mesh(made),
    }


def _mesh(made: list[Object]) -> dict[str, str]:
    sdep = SeldonDeployment.from_json(yaml.safe_load(MANIFEST.read_text()))
    (predictor,) = sdep.predictors
    name = predictor_service_name(sdep.name, predictor)
    (service,) = (obj for obj in made if obj["kind"] == "Service" and obj["metadata"]["name"] == name)
    pod = {"kind": "Pod", "metadata": {**pod_template()["metadata"], "name": name, "namespace": sdep.namespace}}
    mesh = translate(
        Objects(
            virtual_services=_of(made, "VirtualService"),
            destination_rules=_of(made, "DestinationRule"),
            gateways=(yaml.safe_load(GATEWAY.read_text()),),
            services=({**service, "spec": {**service["spec"], "clusterIP": "None"}},),
            endpoint_slices=(_slice(service, name),),
            pods=(pod,),
        ),
        Site("0.0.0.0", GATEWAY_PORT, str(HOME / "page.html")),
    )
    if mesh.findings:
        raise ValueError(f"compose: the mesh cannot do all of {MANIFEST}: {mesh.findings[0]}")
    resources = render(mesh, LAYOUT)
    admin = {"address": {"pipe": {"path": SOCKET, "mode": 0o600}}}
    own = {
        LAYOUT.bootstrap(0): _text({**bootstrap(0, LAYOUT.paths), "admin": admin}),
        LAYOUT.listeners(0): resources.listeners[0].text,
        LAYOUT.clusters: discovery_response(resources.clusters.values()).text,
        LAYOUT.routes: discovery_response([resources.routes]).text,
    }
    return {str(path.relative_to(HOME)): text for path, text in own.items()}


def _of(made: list[Object], kind: str) -> tuple[Object, ...]:
    return tuple(obj for obj in made if obj["kind"] == kind)


def _slice(service: Object, pod: str) -> Object:
    ports = [{"name": port["name"], "port": port["targetPort"]} for port in service["spec"]["ports"]]
    endpoint = {
        "addresses": [POD_ADDRESS],
        "conditions": {"ready": True},
        "targetRef": {"kind": "Pod", "name": pod},
    }
    labels = {SERVICE_NAME_LABEL: service["metadata"]["name"]}
    meta = {"name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"], "labels": labels}
    return {"kind": "EndpointSlice", "metadata": meta, "ports": ports, "endpoints": [endpoint]}


def gateway_arguments() -> list[str]:
    """What the container's Envoy is started with."""
    return envoy_argv(0, LAYOUT.paths)[1:]


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name, text in files().items():
        path = REPOSITORY / "compose" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path.relative_to(REPOSITORY))
    return 0


if __name__ == "__main__":
    sys.exit(main())
