"""What a manifest leaves unsaid (contract 1.3, 1.8; behaviours 62, 63, 64)."""

from __future__ import annotations

from slipway.contract.defaulting import PortPlan, default, port_of
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from tests.contract.manifests import Manifest, component, node, predictor, sdep

SERVERS = {"SKLEARN_SERVER": "seldonio/sklearnserver:1.17.1", "MY_SERVER": "example/mine:2"}


def defaulted(manifest: Manifest) -> SeldonDeployment:
    return default(SeldonDeployment.from_json(manifest), predictor_servers=SERVERS)


def ports(item: PredictorSpec) -> dict[str, tuple[int, int, int]]:
    """(http, grpc, metrics) by container."""
    found = {}
    for part in item.component_specs:
        for container in part.containers:
            found[container["name"]] = tuple(port_of(container, name) for name in ("http", "grpc", "metrics"))
    return found


def test_row_62_ports_count_up_from_9000_9500_and_6000():
    (main,) = defaulted(sdep(predictor(graph=node(children=[node("b")])))).predictors
    assert ports(main) == {"clf": (9000, 9500, 6000), "b": (9001, 9501, 6001)}


def test_ports_of_one_name_are_one_number_in_all_predictors():
    first, second = defaulted(
        sdep(predictor("a", traffic=50), predictor("b", traffic=50, graph=node(children=[node("extra")])))
    ).predictors
    assert ports(first) == {"clf": (9000, 9500, 6000)}
    assert ports(second) == {"clf": (9000, 9500, 6001), "extra": (9001, 9501, 6002)}, "metrics have no name map"


def test_ports_are_taken_by_containers_that_are_no_nodes_too():
    (main,) = defaulted(sdep(predictor(componentSpecs=[component("proxy", "clf")]))).predictors
    assert ports(main) == {"proxy": (0, 0, 0), "clf": (9001, 9501, 6000)}


def test_row_62_ports_that_a_container_names_are_kept():
    declared = [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 7000}]
    spec = {"spec": {"containers": [{"name": "clf", "image": "x:1", "ports": declared}]}}
    (main,) = defaulted(sdep(predictor(componentSpecs=[spec]))).predictors
    assert ports(main) == {"clf": (8080, 9500, 7000)}
    assert main.graph.endpoint is not None
    assert (main.graph.endpoint.http_port, main.graph.endpoint.service_port) == (8080, 8080)


def test_row_62_metrics_port_has_the_name_that_the_installation_says_and_numbers_begin_where_it_says():
    declared = {
        "spec": {"containers": [{"name": "b", "image": "x:1", "ports": [{"name": "scrape", "containerPort": 7}]}]}
    }
    manifest = sdep(predictor(graph=node(children=[node("b")]), componentSpecs=[component("clf"), declared]))
    plan = PortPlan(http=9100, grpc=9600, metrics=6100, metrics_name="scrape")
    (main,) = default(SeldonDeployment.from_json(manifest), plan=plan).predictors
    found = {item["name"]: item["ports"] for part in main.component_specs for item in part.containers}
    assert [(port["name"], port["containerPort"]) for port in found["clf"]] == [
        ("http", 9100),
        ("grpc", 9600),
        ("scrape", 6100),
    ]
    assert {port["name"]: port["containerPort"] for port in found["b"]} == {"scrape": 7, "http": 9101, "grpc": 9601}


def test_service_port_is_grpc_for_that_transport():
    (main,) = defaulted(sdep(predictor(), transport="grpc")).predictors
    assert main.graph.endpoint is not None
    assert main.graph.endpoint.service_port == 9500


def test_hosts_are_local_in_the_first_pod_and_services_elsewhere():
    graph = node(children=[node("b")])
    (main,) = defaulted(sdep(predictor(graph=graph, componentSpecs=[component("clf"), component("b")]))).predictors
    hosts = [unit.endpoint and unit.endpoint.service_host for unit in main.graph.walk()]
    assert hosts == ["localhost", "iris-main-b.team.svc.cluster.local"]


def test_hosts_are_services_with_a_separate_engine():
    (main,) = defaulted(sdep(annotations={"seldon.io/engine-separate-pod": "true"})).predictors
    assert main.graph.endpoint is not None
    assert main.graph.endpoint.service_host == "iris-main-clf.team.svc.cluster.local"


def test_host_that_the_manifest_names_is_overwritten():
    (main,) = defaulted(sdep(predictor(graph=node(endpoint={"service_host": "elsewhere", "type": "REST"})))).predictors
    assert main.graph.endpoint is not None
    assert (main.graph.endpoint.service_host, main.graph.endpoint.type) == ("localhost", "REST")


def test_row_63_node_without_type_methods_and_implementation_is_a_model():
    (main,) = defaulted(sdep()).predictors
    assert (main.graph.type, main.graph.implementation) == ("MODEL", "UNKNOWN_IMPLEMENTATION")
    (other,) = defaulted(sdep(predictor(graph=node(methods=["TRANSFORM_INPUT"])))).predictors
    assert other.graph.type == ""


def test_row_63_ab_test_keeps_no_type_and_no_endpoint():
    (main,) = defaulted(
        sdep(predictor(graph=node("ab", implementation="RANDOM_ABTEST", children=[node("a"), node("b")])))
    ).predictors
    assert (main.graph.type, main.graph.endpoint) == ("", None)


def test_row_64_prepackaged_node_gets_a_container_with_the_configured_image_and_is_a_model():
    for name, image in SERVERS.items():
        graph = node(implementation=name, modelUri="s3://m", type="ROUTER")
        (main,) = defaulted(sdep(predictor(graph=graph, componentSpecs=[]))).predictors
        assert [dict(item)["image"] for item in main.component_specs[0].containers] == [image]
        assert (main.graph.type, ports(main)) == ("MODEL", {"clf": (9000, 9500, 6000)})
        assert main.graph.endpoint is not None
        assert main.graph.endpoint.service_host == "localhost"


def test_row_64_prepackaged_node_keeps_the_image_of_its_container():
    (main,) = defaulted(sdep(predictor(graph=node(implementation="SKLEARN_SERVER", modelUri="s3://m")))).predictors
    assert main.component_specs[0].containers[0]["image"] == "example/clf:0.1"


def test_port_that_says_no_number_has_none():
    assert port_of({"name": "clf", "ports": [{"name": "metrics"}]}, "metrics") == 0
    assert port_of({"name": "clf", "ports": [{"name": "metrics", "containerPort": "6000"}]}, "metrics") == 0


def test_version_label_is_the_predictors_name_unless_given():
    first, second = defaulted(
        sdep(predictor("a", traffic=50), predictor("b", traffic=50, labels={"version": "v7"}))
    ).predictors
    assert (first.labels["version"], second.labels["version"]) == ("a", "v7")


def test_manifest_itself_is_not_touched():
    manifest = sdep(predictor(graph=node(children=[node("b")])))
    before = repr(manifest)
    defaulted(manifest)
    assert repr(manifest) == before
