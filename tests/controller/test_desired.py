"""A SeldonDeployment → its objects (contract section 2; behaviours 67, 69, 70, 71, 72, 74, 75, 76)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml

from slipway.contract.defaulting import PortPlan
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.contract.manifests import Manifest, component, node, predictor, sdep
from tests.controller.cases import CASES, SETTINGS, follower, load
from tests.controller.made import Object, deployment, env, objects, template
from tests.manifests.schemas import KUBERNETES, complain_of_kubernetes, is_of_kubernetes


class Plain(yaml.SafeDumper):
    """Equal parts are written out, not referred to."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@pytest.mark.parametrize("case", CASES)
def test_golden_objects(case, golden):
    sdep_of_case, facts = load(case)
    golden(f"{case}.yaml", yaml.dump_all(desired(sdep_of_case, facts), Dumper=Plain, sort_keys=False, width=110))


def test_golden_objects_of_a_follower_with_its_warm_version(golden):
    made = desired(*follower("2", "1"))
    golden("follower.yaml", yaml.dump_all(made, Dumper=Plain, sort_keys=False, width=110))


@pytest.mark.parametrize("case", CASES)
def test_objects_have_a_name_and_an_owner_and_are_unique(case):
    made = desired(*load(case))
    keys = [(obj["kind"], obj["metadata"]["name"]) for obj in made]
    assert len(set(keys)) == len(keys)
    for obj in made:
        (owner,) = obj["metadata"]["ownerReferences"]
        assert (owner["uid"], obj["metadata"]["namespace"]) == ("uid-1", "team")
        assert len(obj["metadata"]["name"]) <= 63 or obj["kind"] == "ConfigMap"


def test_row_69_default_deployment_has_two_containers_and_two_services():
    found = objects(sdep())
    assert [name for kind, name in found if kind == "Service"] == ["iris-main", "iris-main-clf"]
    names = [item["name"] for item in template(sdep())["spec"]["containers"]]
    assert names == ["clf", "seldon-container-engine"]


def test_row_69_node_container_gets_its_variables_and_no_model_uri_without_a_model():
    found = env(sdep(predictor(graph=node(parameters=[{"name": "n", "value": "2", "type": "INT"}]))))
    assert found["PREDICTIVE_UNIT_HTTP_SERVICE_PORT"] == "9000"
    assert found["PREDICTIVE_UNIT_GRPC_SERVICE_PORT"] == "9500"
    assert found["PREDICTIVE_UNIT_METRICS_SERVICE_PORT"] == "6000"
    assert found["PREDICTIVE_UNIT_METRICS_ENDPOINT"] == "/prometheus"
    assert found["PREDICTIVE_UNIT_PARAMETERS"] == '[{"name":"n","value":"2","type":"INT"}]'
    assert found["PREDICTOR_LABELS"] == '{"version":"main"}'
    assert found["MLSERVER_MODEL_NAME"] == "clf"
    assert "MLSERVER_MODEL_URI" not in found
    assert env(sdep(predictor(graph=node(modelUri="s3://m"))))["MLSERVER_MODEL_URI"] == "/mnt/models"


def test_variables_of_the_manifest_win_except_for_identity():
    given = [{"name": "PREDICTIVE_UNIT_SERVICE_PORT", "value": "1"}, {"name": "PREDICTOR_ID", "value": "liar"}]
    spec = {"spec": {"containers": [{"name": "clf", "image": "x:1", "env": given}]}}
    found = env(sdep(predictor(componentSpecs=[spec])))
    assert (found["PREDICTIVE_UNIT_SERVICE_PORT"], found["PREDICTOR_ID"]) == ("1", "main")


def test_row_70_no_engine_has_one_container_and_without_the_annotation_two():
    without = sdep(predictor(annotations={"seldon.io/no-engine": "TRUE"}))
    assert [item["name"] for item in template(without)["spec"]["containers"]] == ["clf"]
    assert objects(without)["Service", "iris-main"]["spec"]["ports"][0]["targetPort"] == 9000
    assert len(template(sdep())["spec"]["containers"]) == 2


def test_no_engine_leads_the_service_to_the_node_only():
    manifest = sdep(
        predictor(annotations={"seldon.io/no-engine": "true"}, componentSpecs=[component("clf"), component("sidecar")])
    )
    found = objects(manifest)
    carriers = [
        name
        for (kind, name), obj in found.items()
        if kind == "Deployment" and "seldon-app" in obj["spec"]["template"]["metadata"]["labels"]
    ]
    assert carriers == ["iris-main-0-clf"]


def test_row_71_separate_engine_needs_the_annotation_of_spec():
    key = {"seldon.io/engine-separate-pod": "true"}
    assert ("Deployment", "iris-main-svc-orch") in objects(sdep(annotations=key))
    assert ("Deployment", "iris-main-svc-orch") not in objects(sdep(metadata={"annotations": key}))


def test_separate_engine_keeps_the_timeouts():
    manifest = sdep(annotations={"seldon.io/engine-separate-pod": "true", "seldon.io/rest-timeout": "1000"})
    pod = objects(manifest)["Deployment", "iris-main-svc-orch"]["spec"]["template"]
    assert pod["metadata"]["annotations"]["seldon.io/rest-timeout"] == "1000"


REPLICAS = [
    ({}, {}, {}, None),
    ({"replicas": 1}, {}, {}, 1),
    ({"replicas": 1}, {"replicas": 2}, {}, 2),
    ({"replicas": 1}, {"replicas": 2}, {"replicas": 3}, 3),
    ({"replicas": 1}, {"replicas": 0}, {}, 0),
    ({"replicas": 1}, {"replicas": 2}, {"replicas": 3, "hpaSpec": {"maxReplicas": 5}}, None),
    ({"replicas": 1}, {"replicas": 2}, {"kedaSpec": {"triggers": [{"type": "cron"}]}}, None),
]


@pytest.mark.parametrize(("spec", "of_predictor", "of_component", "expected"), REPLICAS)
def test_row_67_replicas_come_from_the_most_specific_place(spec, of_predictor, of_component, expected):
    manifest = sdep(predictor(componentSpecs=[component("clf", **of_component)], **of_predictor), **spec)
    assert deployment(manifest)["spec"].get("replicas") == expected


def test_row_67_separate_orchestrator_has_replicas_of_its_own_before_the_predictor_s_and_the_spec_s():
    key = {"seldon.io/engine-separate-pod": "true"}
    for own, of_predictor, expected in (({"replicas": 4}, {"replicas": 2}, 4), ({}, {"replicas": 2}, 2), ({}, {}, 1)):
        manifest = sdep(predictor(svcOrchSpec=own, **of_predictor), annotations=key, replicas=1)
        assert objects(manifest)["Deployment", "iris-main-svc-orch"]["spec"]["replicas"] == expected


def test_row_62_variables_of_the_metrics_port_follow_its_name():
    facts = Facts(replace(SETTINGS, ports=PortPlan(metrics=6100, metrics_name="scrape")))
    made = desired(SeldonDeployment.from_json(sdep()), facts)
    (pod,) = [obj["spec"]["template"]["spec"] for obj in made if obj["kind"] == "Deployment"]
    found = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    assert found["PREDICTIVE_UNIT_METRICS_SERVICE_PORT"] == found["MLSERVER_METRICS_PORT"] == "6100"


def test_row_72_autoscalers_and_budgets_are_named_like_the_deployment():
    found = objects(CASES["hpa"][0])
    assert ("HorizontalPodAutoscaler", "iris-main-0-clf") in found
    assert ("ScaledObject", "iris-main-1-b") in found
    assert ("PodDisruptionBudget", "iris-main-2-c") in found


def test_row_72_autoscaler_metrics_of_v2beta1_and_v2_come_out_alike():
    old = {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 70}}
    new = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}

    def metrics(spec: Object) -> Any:
        manifest = sdep(predictor(componentSpecs=[component("clf", hpaSpec={"maxReplicas": 3, **spec})]))
        return objects(manifest)["HorizontalPodAutoscaler", "iris-main-0-clf"]["spec"]["metrics"]

    assert metrics({"metrics": [old]}) == metrics({"metricsv2": [new]}) == [new]


def test_budget_is_about_its_own_deployment():
    budget = objects(CASES["hpa"][0])["PodDisruptionBudget", "iris-main-2-c"]
    assert budget["spec"]["selector"] == {"matchLabels": {"app": "iris-main-2-c"}}


def test_row_75_ab_test_needs_no_container():
    graph = node("ab", implementation="RANDOM_ABTEST", children=[node("a"), node("b")])
    names = [item["name"] for item in template(sdep(predictor(graph=graph)))["spec"]["containers"]]
    assert names == ["a", "b", "seldon-container-engine"]


def test_row_76_labels_mark_node_types_and_the_shadow():
    chain = node("t", type="TRANSFORMER", children=[node("m")])
    labels = template(sdep(predictor(graph=chain)))["metadata"]["labels"]
    assert (labels["seldon.io/transformer"], labels["seldon.io/model"]) == ("true", "true")
    assert labels["seldon-app-svc-m"] == "iris-main-m"
    assert "seldon.io/shadow" not in labels
    found = objects(CASES["shadow"][0])["Deployment", "iris-dark-0-clf"]["spec"]["template"]["metadata"]["labels"]
    assert found["seldon.io/shadow"] == "true"


def test_row_76_services_and_deployments_say_what_is_behind_them_too():
    found = objects(sdep(predictor(graph=node("t", type="TRANSFORMER", children=[node("m")]))))
    of_deployment = found["Deployment", "iris-main-0-t-m"]["metadata"]["labels"]
    assert (of_deployment["seldon.io/transformer"], of_deployment["seldon.io/model"]) == ("true", "true")
    assert found["Service", "iris-main-t"]["metadata"]["labels"]["seldon.io/transformer"] == "true"
    assert "seldon.io/model" not in found["Service", "iris-main-t"]["metadata"]["labels"]
    dark = objects(CASES["shadow"][0])
    for key in (("Deployment", "iris-dark-0-clf"), ("Service", "iris-dark"), ("Service", "iris-dark-clf")):
        assert dark[key]["metadata"]["labels"]["seldon.io/shadow"] == "true"


def test_annotations_of_metadata_never_reach_pods():
    manifest = sdep(metadata={"annotations": {"team": "x"}}, annotations={"kept": "y"})
    found = template(manifest)["metadata"]["annotations"]
    assert found["kept"] == "y"
    assert "team" not in found


def test_traffic_replicas_and_own_labels_change_no_pod_template():
    before = template(sdep(predictor(traffic=0)))
    after = template(sdep(predictor(traffic=100, replicas=3), replicas=2, metadata={"labels": {"a": "b"}}))
    assert before == after


def test_graph_file_holds_the_graph_and_no_variables_of_containers():
    secret = [{"name": "PASSWORD", "value": "hunter2"}]
    spec = {"spec": {"containers": [{"name": "clf", "image": "x:1", "env": secret}]}}
    found = objects(sdep(predictor(componentSpecs=[spec], traffic=100, replicas=4)))
    text = found["ConfigMap", "iris-main-0-clf-graph"]["data"]["predictor.json"]
    assert "hunter2" not in text
    read = json.loads(text)
    assert read["graph"]["endpoint"]["service_host"] == "localhost"
    assert not {"traffic", "replicas"} & read.keys()


def test_rollout_recreate_ends_the_old_pods_first():
    assert deployment(sdep())["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": "25%"}
    manifest = sdep(predictor(annotations={"slipway.dev/rollout": "recreate"}))
    assert deployment(manifest)["spec"]["strategy"] == {"type": "Recreate"}


def test_requests_at_a_time_are_the_destination_rules_and_not_the_pods():
    manifest = sdep(predictor(), annotations={"slipway.dev/max-requests": "16"})
    found = objects(manifest)
    pool = found["DestinationRule", "iris-main"]["spec"]["trafficPolicy"]["connectionPool"]
    assert pool["http"]["http2MaxRequests"] == 16
    pods = deployment(manifest)["spec"]["template"]
    assert pods == deployment(sdep())["spec"]["template"]
    manifest = sdep(
        predictor(annotations={"slipway.dev/max-requests": "3"}), annotations={"slipway.dev/max-requests": "16"}
    )
    pool = objects(manifest)["DestinationRule", "iris-main"]["spec"]["trafficPolicy"]["connectionPool"]
    assert pool["http"]["http2MaxRequests"] == 3


def test_headless_service_has_no_address():
    manifest = sdep(annotations={"seldon.io/headless-svc": "true"})
    assert objects(manifest)["Service", "iris-main"]["spec"]["clusterIP"] == "None"
    manifest = sdep(annotations={"seldon.io/headless-svc": "false"})
    assert "clusterIP" not in objects(manifest)["Service", "iris-main"]["spec"]


def test_graph_without_containers_has_a_separate_orchestrator():
    found = objects(sdep(predictor(graph=node(implementation="SIMPLE_MODEL"), componentSpecs=[])))
    assert [name for kind, name in found if kind == "Deployment"] == ["iris-main-svc-orch"]


def test_row_68_long_names_are_prefixed_everywhere_where_told():
    parts = [f"part-of-the-graph-{letter}" for letter in "abc"]
    scaled = component(*parts, hpaSpec={"maxReplicas": 2}, pdbSpec={"minAvailable": 1})
    manifest = sdep(predictor(graph=node(parts[0]), componentSpecs=[scaled]))
    facts = Facts(replace(SETTINGS, prefixes_names=True))
    made = desired(SeldonDeployment.from_json(manifest), facts)
    names = {obj["metadata"]["name"] for obj in made if obj["kind"] != "Service"}
    (plain,) = [name for (kind, name) in objects(manifest) if kind == "Deployment"]
    prefixed = plain.replace("seldon-", "iris-")
    kinds = {"Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    assert {obj["metadata"]["name"] for obj in made if obj["kind"] in kinds} == {prefixed}
    assert f"{prefixed}-graph" in names
    assert not [name for name in names if name.startswith("seldon-")]


@pytest.mark.parametrize("length", [44, 45, 48, 49, 63])
def test_row_68_node_of_any_length_has_labels_containers_and_volumes_that_the_api_takes(length):
    name = "c" * length
    graph = node("root", children=[node(name, modelUri="pvc://claim/m")])
    found = objects(sdep(predictor(graph=graph, componentSpecs=[component("root"), component(name)])))
    assert [complain_of_kubernetes(obj, KUBERNETES[-1]) for obj in found.values() if is_of_kubernetes(obj)] == [""] * 6
    for obj in found.values():
        assert all(len(key) <= 63 and len(value) <= 63 for key, value in obj["metadata"]["labels"].items())
    (pod,) = [
        obj["spec"]["template"]
        for (kind, _), obj in found.items()
        if kind == "Deployment" and "initContainers" in obj["spec"]["template"]["spec"]
    ]
    (service,) = [
        obj for (kind, _), obj in found.items() if kind == "Service" and obj["spec"]["ports"][0]["port"] == 9001
    ]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (initializer,) = pod["spec"]["initContainers"]
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in initializer["volumeMounts"]} <= volumes
    assert all(len(word) <= 63 for word in (initializer["name"], *volumes))


def engine(manifest: Manifest, **settings: Any) -> Object:
    made = desired(SeldonDeployment.from_json(manifest), Facts(replace(SETTINGS, **settings)))
    (found,) = [obj for obj in made if obj["kind"] == "Deployment"]
    return next(
        item for item in found["spec"]["template"]["spec"]["containers"] if item["name"] == "seldon-container-engine"
    )


def test_payload_log_s_annotations_and_default_endpoint_reach_the_executor():
    queue = {"seldon.io/executor-logger-queue-size": "7", "seldon.io/executor-logger-write-timeout-ms": "250"}
    plain, told = engine(sdep()), engine(sdep(annotations=queue), log_url="http://events.default.svc/")
    assert {"name": "REQUEST_LOGGER_DEFAULT_ENDPOINT", "value": "http://default-broker"} in plain["env"]
    assert {"name": "REQUEST_LOGGER_DEFAULT_ENDPOINT", "value": "http://events.default.svc/"} in told["env"]
    for container, values in ((plain, ("10000", "2000")), (told, ("7", "250"))):
        words = container["args"]
        sent = [words[words.index(f"--{flag}") + 1] for flag in ("log_work_buffer_size", "log_write_timeout_ms")]
        assert tuple(sent) == values


def test_logger_of_a_node_reaches_the_executor():
    logger = {"mode": "all", "url": "http://events.default.svc/"}
    found = objects(sdep(predictor(graph=node(logger=logger))))
    (graph,) = [json.loads(obj["data"]["predictor.json"]) for (kind, _), obj in found.items() if kind == "ConfigMap"]
    assert graph["graph"]["logger"] == logger
