"""SeldonDeployments whose objects are compared with golden files."""

from __future__ import annotations

from slipway.contract.following import NodeModel, Revision
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.facts import Facts
from slipway.controller.settings import Settings
from slipway.registry import ResolvedModel
from tests.contract.manifests import Manifest, component, node, predictor, sdep

SETTINGS = Settings(
    executor_image="slipway/executor:0.1.0",
    storage_initializer_image="slipway/storage-initializer:0.1.0",
    predictor_servers={"SKLEARN_SERVER": "seldonio/sklearnserver:1.17.1"},
    has_keda=True,
    follow_interval_s=0.05,
)
CPU = {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 70}}


def model(version: str) -> ResolvedModel:
    return ResolvedModel("shapes", version, f"sha256:{version * 64}", f"s3://models/shapes/{version}")


def yolo(name: str, version: str, **fields: object) -> Manifest:
    detector = node("yolo-detector", type="MODEL", modelUri=f"models:/shapes/{version}")
    return predictor(name, graph=node("image-transformer", type="TRANSFORMER", children=[detector]), **fields)


CASES: dict[str, tuple[Manifest, dict[tuple[str, str], ResolvedModel]]] = {
    "single": (
        sdep(
            predictor(
                graph=node(
                    modelUri="s3://bucket/iris", parameters=[{"name": "n_branches", "value": "2", "type": "INT"}]
                ),
                labels={"team": "vision"},
            ),
            annotations={"seldon.io/rest-timeout": "2000"},
        ),
        {},
    ),
    "canary": (
        sdep(yolo("stable", "1", traffic=90), yolo("canary", "2", traffic=10, replicas=2), name="yolo"),
        {("stable", "yolo-detector"): model("1"), ("canary", "yolo-detector"): model("2")},
    ),
    "shadow": (
        sdep(
            predictor("main", traffic=75),
            predictor("canary", traffic=25),
            predictor("dark", shadow=True, traffic=40),
            annotations={"seldon.io/istio-retries": "3", "seldon.io/istio-retries-timeout": "2"},
        ),
        {},
    ),
    "separate-orchestrator": (
        sdep(
            predictor(svcOrchSpec={"replicas": 2, "env": [{"name": "SELDON_LOG_LEVEL", "value": "DEBUG"}]}),
            annotations={"seldon.io/engine-separate-pod": "true", "seldon.io/engine-log-messages": "on"},
        ),
        {},
    ),
    "hpa": (
        sdep(
            predictor(
                graph=node(children=[node("b"), node("c")], type="COMBINER"),
                componentSpecs=[
                    component("clf", hpaSpec={"minReplicas": 1, "maxReplicas": 3, "metrics": [CPU]}),
                    component("b", kedaSpec={"maxReplicaCount": 5, "triggers": [{"type": "cron", "metadata": {}}]}),
                    component("c", pdbSpec={"minAvailable": 1}, replicas=2),
                ],
            )
        ),
        {},
    ),
    "prepackaged": (
        sdep(
            predictor(
                graph=node(
                    implementation="SKLEARN_SERVER",
                    modelUri="s3://bucket/iris",
                    envSecretRefName="bucket-keys",
                    serviceAccountName="reader",
                    parameters=[{"name": "method", "value": "predict", "type": "STRING"}],
                ),
                componentSpecs=[],
                svcOrchSpec={"resources": {"requests": {"cpu": "1"}}},
            )
        ),
        {},
    ),
    "explainer": (
        sdep(
            predictor(
                explainer={
                    "type": "AnchorTabular",
                    "modelUri": "s3://bucket/why",
                    "config": {"threshold": "0.95", "batch_size": "10"},
                    "containerSpec": {"image": "example/explainer:0.1", "resources": {"requests": {"cpu": "1"}}},
                    "serviceAccountName": "reader",
                    "replicas": 2,
                },
            )
        ),
        {},
    ),
    "no-engine": (
        sdep(predictor(annotations={"seldon.io/no-engine": "true", "seldon.io/svc-name": "front"}, replicas=0)),
        {},
    ),
    "three-component-specs": (
        sdep(
            predictor(
                graph=node(
                    "router",
                    type="ROUTER",
                    children=[node("a"), node("b", implementation="SKLEARN_SERVER", modelUri="pvc://claim/iris")],
                ),
                componentSpecs=[component("router"), component("a"), component("b", metadata={"name": "heavy"})],
            )
        ),
        {},
    ),
}


def revision(predictor_name: str, version: str, *, node_name: str = "yolo-detector") -> Revision:
    """One version of ``shapes`` as the alias ``champion`` named it."""
    resolved = model(version)
    fields = (resolved.name, version, str(resolved.digest), resolved.source)
    return Revision.of(predictor_name, (NodeModel(node_name, "models:/shapes@champion", *fields),))


def follower(*versions: str) -> tuple[SeldonDeployment, Facts]:
    """A chain over two Pods that follows ``champion``; the wanted version first. The Services select it."""
    graph = node(
        "image-transformer",
        type="TRANSFORMER",
        children=[node("yolo-detector", type="MODEL", modelUri="models:/shapes@champion")],
    )
    parts = [component("image-transformer"), component("yolo-detector")]
    manifest = sdep(
        predictor("stable", graph=graph, componentSpecs=parts),
        name="yolo",
        annotations={"slipway.dev/follow-alias": "true", "slipway.dev/keep-previous": "2h"},
    )
    revisions = [revision("stable", version) for version in versions]
    facts = Facts(SETTINGS, revisions={"stable": revisions}, selected={"stable": revisions[0].name})
    return SeldonDeployment.from_json(manifest), facts


def load(case: str) -> tuple[SeldonDeployment, Facts]:
    manifest, models = CASES[case]
    return SeldonDeployment.from_json(manifest), Facts(SETTINGS, models)
