"""What ``kubectl explain sdep`` says of each field: a sentence or two by the field's path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

_NODE = {
    "name": "Name of the node, unique in its graph. A container of the same name in componentSpecs serves it.",
    "type": "MODEL, TRANSFORMER, OUTPUT_TRANSFORMER, ROUTER or COMBINER: which hooks are called of a node that a container serves.",
    "implementation": "A built-in (SIMPLE_MODEL, SIMPLE_ROUTER, RANDOM_ABTEST, AVERAGE_COMBINER) or a prepackaged server such as DARKNET_SERVER, which needs a modelUri and no container.",
    "methods": "Hooks to call in place of those of the type: TRANSFORM_INPUT, TRANSFORM_OUTPUT, ROUTE, AGGREGATE, SEND_FEEDBACK.",
    "modelUri": "Where the model is: models:/name/version or models:/name@alias of the registry, s3://, gs://, pvc://, file:// or a path.",
    "serviceAccountName": "Account of the Pod of a prepackaged server.",
    "envSecretRefName": "Secret whose entries are the environment of the container that fetches the model.",
    "storageInitializerImage": "Image that fetches the model in place of the default one.",
    "endpoint": "Where the node answers. Set by the controller where the node has a container.",
    "endpoint.service_host": "Host of a node that runs elsewhere.",
    "endpoint.service_port": "Port of a node that runs elsewhere, for either protocol.",
    "endpoint.httpPort": "Port for REST.",
    "endpoint.grpcPort": "Port for gRPC.",
    "endpoint.type": "REST or GRPC: how the orchestrator calls the node.",
    "logger": "Sends the node's messages as CloudEvents.",
    "logger.mode": "request, response or all.",
    "logger.url": "http or https address that takes the events.",
    "parameters": "Arguments of the component's constructor.",
    "parameters.name": "Name of the argument.",
    "parameters.value": "Value as text, whatever its type.",
    "parameters.type": "INT, FLOAT, DOUBLE, STRING or BOOL.",
    "children": "Nodes that come after this one: a router chooses one of them, a combiner joins their answers.",
}
_EXPLAINER = {
    "type": "Kind of explanation, given to the explainer's image.",
    "modelUri": "Where the explainer's own files are.",
    "serviceAccountName": "Account of the explainer's Pod.",
    "envSecretRefName": "Secret whose entries are the environment of the container that fetches the files.",
    "storageInitializerImage": "Image that fetches the files in place of the default one.",
    "initParameters": "Not offered: say config, or env of containerSpec.",
    "replicas": "Pods of the explainer.",
    "config": "Arguments of the explainer: --key=value each.",
    "containerSpec": "The explainer's container; its image is required.",
    "endpoint": "Ports at which the explainer answers.",
}
_COMPONENT = {
    "replicas": "Pods of this part, in place of the predictor's number.",
    "metadata": "Name, labels and annotations of the Deployment and its Pods.",
    "spec": "Spec of the Pods, as in a Deployment's template.",
    "spec.containers": "One container for each node of the graph that it serves, of the node's name.",
    "spec.initContainers": "Containers that end before those start.",
    "spec.volumes": "Volumes that containers may mount.",
    "hpaSpec": "Makes a HorizontalPodAutoscaler of the Deployment.",
    "hpaSpec.minReplicas": "Fewest Pods; 1 where it is absent.",
    "hpaSpec.maxReplicas": "Most Pods.",
    "hpaSpec.behavior": "Windows and policies as in autoscaling/v2. Not a field of Seldon Core's.",
    "kedaSpec": "Makes a KEDA ScaledObject of the Deployment: to 0 and back with minReplicaCount 0.",
    "kedaSpec.triggers": "What is measured: type and metadata as in a ScaledObject.",
    "pdbSpec": "Makes a PodDisruptionBudget of the Deployment's Pods: one of the two bounds.",
    "pdbSpec.minAvailable": "Pods that must stay: a number, or a percentage such as 50%.",
    "pdbSpec.maxUnavailable": "Pods that may go: a number, or a percentage such as 50%.",
}
_PREDICTOR = {
    "name": "Name of the predictor, unique here; the value of its Pods' label version.",
    "replicas": "Pods of each of its Deployments, in place of spec.replicas.",
    "traffic": "Percent of the requests. Those of the live predictors sum to 100; one alone may leave it out.",
    "shadow": "true: it gets copies of requests and answers nobody.",
    "progressDeadlineSeconds": "Seconds after which a Deployment that does not get on has failed.",
    "labels": "Further labels of its Pods.",
    "annotations": "Settings of this predictor: seldon.io/* and slipway.dev/*, before those of spec.annotations.",
    "engineResources": "Without effect: use svcOrchSpec.resources.",
    "ssl": "Not offered: TLS between Pods is the mesh's.",
    "ssl.certSecretName": "Not offered.",
    "svcOrchSpec": "The orchestrator, which calls the nodes of the graph.",
    "svcOrchSpec.replicas": "Pods of an orchestrator that has a Deployment of its own.",
    "svcOrchSpec.resources": "Requests and limits of its container.",
    "svcOrchSpec.env": "Further environment of its container.",
    "explainer": "A Pod beside the graph that explains its predictions.",
    "componentSpecs": "Pods that serve nodes of the graph: a Deployment each.",
    "graph": "The root node: requests enter here.",
}
_SPEC = {
    "name": "Not used: the name is metadata.name.",
    "oauth_key": "Not used.",
    "oauth_secret": "Not used.",
    "protocol": "seldon (where it is absent), v2, kfserving or tensorflow: what clients and nodes speak.",
    "transport": "rest (where it is absent) or grpc. Both are always served; this is what endpoint.service_port is for.",
    "serverType": "rpc. kafka is not offered.",
    "replicas": "Pods of each Deployment, where nothing nearer says another number.",
    "annotations": "Settings of all predictors: seldon.io/* and slipway.dev/*.",
    "predictors": "Versions that are served side by side: each a graph of nodes and a part of the traffic.",
}


def _below(path: str, texts: Mapping[str, str]) -> dict[str, str]:
    return {f"{path}.{name}": text for name, text in texts.items()}


DESCRIPTIONS: Mapping[str, str] = {
    "": "A graph of models, in one or several versions, behind one address.",
    "spec": "What is to be served.",
    "status": "What is served: state, replicas, addresses, traffic and models, written by the controller.",
    **_below("spec", _SPEC),
    **_below("spec.predictors", _PREDICTOR),
    **_below("spec.predictors.explainer", _EXPLAINER),
    **_below("spec.predictors.componentSpecs", _COMPONENT),
    **_below("spec.predictors.graph", _NODE),
    **_below("spec.predictors.graph.children", _NODE),
}
"""Path without indices → text. Of a graph the first two levels: ten of them in three versions would double the definition."""


def described(schema: Schema, path: str = "") -> Schema:
    """A copy of ``schema`` in which each field of the table has its ``description``."""
    text = {"description": DESCRIPTIONS[path]} if path in DESCRIPTIONS else {}
    return text | _inside(schema, path)


def _inside(schema: Schema, path: str) -> Schema:
    """A list's items are described with the list."""
    found = dict(schema)
    if "properties" in schema:
        names = schema["properties"]
        found["properties"] = {name: described(part, f"{path}.{name}".lstrip(".")) for name, part in names.items()}
    if "items" in schema:
        found["items"] = _inside(schema["items"], path)
    return found
