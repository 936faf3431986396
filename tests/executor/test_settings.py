"""Flags, environment, annotations and hosts files: the contract's behaviours 41, 56 and 57."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from slipway.executor.addresses import Addresses, parse_hosts
from slipway.executor.errors import GraphError, SettingError
from slipway.executor.limits import REQUEST_DEADLINE_S
from slipway.executor.predictor import completed, load_spec
from slipway.executor.protocols import PROTOCOLS
from slipway.executor.settings import Settings, parse_settings
from slipway.executor.timeouts import CallLimits, call_limits
from slipway.serving.listening import every_address
from slipway.serving.podinfo import AnnotationError
from tests.executor.graphs import predictor_of

OPERATOR = [
    "--sdep",
    "dep",
    "--namespace",
    "ns",
    "--predictor",
    "main",
    "--http_port",
    "8000",
    "--grpc_port",
    "5001",
    "--protocol",
    "seldon",
    "--transport",
    "rest",
    "--prometheus_path",
    "/prometheus",
    "--server_type",
    "rpc",
    "--log_work_buffer_size",
    "10000",
    "--log_write_timeout_ms",
    "2000",
    "--full_health_checks=false",
    "--predictor-file",
    "/p.json",
]


def settings_of(*argv: str, **environment: str) -> Settings:
    return parse_settings(argv, environment)


@pytest.mark.parametrize(
    ("value", "is_debug"),
    [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False), ("yes", False), ("", False)],
)
def test_debug_s_variable_is_read_as_seldon_reads_it(value: str, is_debug: bool) -> None:
    assert settings_of(SELDON_DEBUG=value).log_level == ("DEBUG" if is_debug else "INFO")
    assert settings_of("--debug=false", SELDON_DEBUG=value).log_level == "INFO"
    assert settings_of("--debug", "--log_level", "ERROR", SELDON_DEBUG=value).log_level == "DEBUG"


def test_places_for_spans_switch_tracing_on() -> None:
    assert settings_of(*OPERATOR).tracing is None
    tracing = settings_of(*OPERATOR, JAEGER_AGENT_HOST="agent").tracing
    assert tracing is not None
    assert (tracing.service, tracing.collector.endpoint) == ("executor", "http://agent:4317")
    assert tracing.resource == {"k8s.namespace.name": "ns", "seldon.deployment": "dep", "seldon.predictor": "main"}
    for switch in ({"TRACING": "1"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}):
        assert settings_of(**switch).tracing is not None
    with pytest.raises(SettingError, match="OTEL_PROPAGATORS: 'xray' is not one of"):
        settings_of(TRACING="1", OTEL_PROPAGATORS="xray")


def test_operator_s_arguments_are_understood() -> None:
    settings = settings_of(*OPERATOR)
    assert (settings.deployment, settings.namespace, settings.predictor) == ("dep", "ns", "main")
    assert (settings.http_port, settings.grpc_port, settings.prometheus_path) == (8000, 5001, "/prometheus")
    assert (settings.full_health_checks, settings.predictor_file) == (False, Path("/p.json"))


def test_flags_may_be_written_with_dashes() -> None:
    settings = settings_of("--http-port", "1", "--grpc-port=2", "--full-health-checks", "--graceful-timeout", "20s")
    assert (settings.http_port, settings.grpc_port, settings.full_health_checks) == (1, 2, True)
    assert settings.shutdown.grace_s == 20


def test_requests_under_way_are_bounded_by_flag_or_variable() -> None:
    assert settings_of().max_in_flight == 256
    assert parse_settings([], {"SLIPWAY_MAX_IN_FLIGHT": "8"}).max_in_flight == 8
    assert parse_settings(["--max-in-flight", "4"], {"SLIPWAY_MAX_IN_FLIGHT": "8"}).max_in_flight == 4


@pytest.mark.parametrize("text", ["0", "257", "many"])
def test_wrong_bound_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        parse_settings([], {"SLIPWAY_MAX_IN_FLIGHT": text})


@pytest.mark.parametrize(("text", "seconds"), [("2", 2), ("1500ms", 1.5), ("3.5s", 3.5)])
def test_shutdown_delay_is_a_duration(text: str, seconds: float) -> None:
    assert settings_of("--shutdown_delay", text).shutdown.drain_s == seconds


@pytest.mark.parametrize(
    "argv",
    [
        ["--no_such_flag"],
        ["--http_port", "x"],
        ["--full_health_checks=maybe"],
        ["--graceful_timeout", "1h"],
        ["--http_port", "65536"],
        ["--grpc_port", "-1"],
    ],
)
def test_wrong_flags_end_with_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        settings_of(*argv)
    assert caught.value.code == 2
    assert "python -m slipway.executor: error:" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["seldon", "tensorflow", "v2", "kfserving"])
def test_protocols_are_the_contract_s(protocol: str) -> None:
    assert parse_settings(["--protocol", protocol], {}).protocol == protocol
    assert protocol in PROTOCOLS


@pytest.mark.parametrize("argv", [["--server_type", "kafka"]])
def test_what_is_not_offered_says_so(argv: list[str]) -> None:
    with pytest.raises(SettingError, match=f"{argv[0]} {argv[1]}: this executor"):
        settings_of(*argv)


def test_pod_address_is_bound_and_meant_by_localhost() -> None:
    assert settings_of().bind_host == every_address()
    settings = settings_of(SLIPWAY_POD_IP="127.1.2.3")
    assert settings.bind_host == "127.1.2.3"
    assert Addresses(pod_ip=settings.pod_ip).resolve("localhost") == "127.1.2.3"
    assert Addresses().resolve("localhost") == "localhost"


def test_hosts_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    hosts, now = tmp_path / "hosts", [0.0]
    hosts.write_text("127.0.0.2 a.ns.svc.cluster.local a.ns # comment\n\n::1 six\n127.0.0.9 a.ns\n")
    addresses = Addresses(hosts_file=hosts, clock=lambda: now[0])
    assert [addresses.resolve(name) for name in ("A.ns.svc.cluster.local", "a.ns", "six", "b")] == [
        "127.0.0.2", "127.0.0.2", "::1", "b",
    ]  # fmt: skip
    hosts.write_text("127.0.0.3 b\n")
    assert addresses.resolve("b") == "b"
    now[0] = 5.0
    assert addresses.resolve("b") == "127.0.0.3"
    hosts.unlink()
    now[0] = 10.0
    assert addresses.resolve("b") == "127.0.0.3"


def test_hosts_of_nonsense_is_empty() -> None:
    assert parse_hosts("# nothing\n\n   \n127.0.0.1\n") == {}


def test_call_limits_come_from_annotations() -> None:
    limits = call_limits(
        {"seldon.io/rest-timeout": "1500", "seldon.io/grpc-timeout": "200", "seldon.io/grpc-max-message-size": "7"}
    )
    assert limits == CallLimits(1.5, 0.2, 7)
    assert CallLimits().deadline_s(nodes=5) == REQUEST_DEADLINE_S
    assert CallLimits(rest_timeout_s=400).deadline_s(nodes=3) == 1200


@pytest.mark.parametrize("value", ["", "-1", "0", "1.5", "9" * 12, "²"])
def test_call_limits_that_are_no_numbers_are_refused(value: str) -> None:
    with pytest.raises(AnnotationError, match="seldon.io/rest-timeout"):
        call_limits({"seldon.io/rest-timeout": value})


PREDICTOR = predictor_of({"name": "a", "type": "MODEL"})


def test_predictor_comes_from_the_environment() -> None:
    encoded = base64.b64encode(json.dumps(PREDICTOR).encode()).decode()
    assert load_spec(settings_of(ENGINE_PREDICTOR=encoded)).name == "main"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "no predictor: give"),
        ("%%%", "not base64"),
        ("e30=", "not the JSON of a predictor"),
        ("bm8=", "not the JSON"),
        (base64.b64encode(b"[" * 100_000).decode(), "not the JSON"),
    ],
)
def test_engine_predictor_that_is_none_is_an_error(value: str, text: str) -> None:
    with pytest.raises(GraphError, match=text):
        load_spec(settings_of(ENGINE_PREDICTOR=value))


def manifest(tmp_path: Path, *names: str, graph: dict[str, Any] | None = None, **spec: Any) -> Path:
    containers = [{"name": "a", "image": "a:1"}]
    predictors: list[dict[str, Any]] = [
        {
            "name": name,
            "graph": graph or {"name": "a"},
            "componentSpecs": [{"spec": {"containers": containers}}],
            "traffic": 100 // len(names),
        }
        for name in names
    ]
    path = tmp_path / "sdep.yaml"
    document = {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": "dep", "namespace": "team"},
        "spec": {"predictors": predictors, **spec},
    }
    path.write_text(json.dumps(document))
    return path


def test_predictor_comes_from_a_manifest_defaulted(tmp_path: Path) -> None:
    path = manifest(tmp_path, "main", "canary")
    spec = load_spec(settings_of("--file", str(path), "--predictor", "canary"))
    assert spec.name == "canary"
    assert spec.graph.endpoint is not None
    assert (spec.graph.endpoint.service_host, spec.graph.endpoint.http_port) == ("localhost", 9000)
    with pytest.raises(GraphError, match="the file has main, canary"):
        load_spec(settings_of("--file", str(path), "--predictor", "other"))


def test_predictor_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="none.json: No such file"):
        load_spec(settings_of("--predictor-file", str(tmp_path / "none.json")))


def test_log_level_of_the_environment_is_read_like_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert settings_of(SELDON_LOG_LEVEL="warn").log_level == "WARNING"
    assert settings_of("--log_level", "debug", SELDON_LOG_LEVEL="warn").log_level == "DEBUG"
    with pytest.raises(SystemExit):
        settings_of(SELDON_LOG_LEVEL="loud")
    assert "'loud' is not one of DEBUG" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "named", "spoken"),
    [([], "v2", "v2"), ([], None, "seldon"), (["--protocol", "seldon"], "v2", "seldon")],
)
def test_protocol_is_the_flag_s_else_the_manifest_s(
    tmp_path: Path, flags: list[str], named: str | None, spoken: str
) -> None:
    said: dict[str, Any] = {"protocol": named} if named else {}
    path = manifest(tmp_path, "main", **said)
    assert completed(settings_of("--file", str(path), *flags)).protocol == spoken


def test_names_are_the_flags_else_the_manifest_s(tmp_path: Path) -> None:
    path = str(manifest(tmp_path, "main"))
    settings = completed(settings_of("--file", path))
    assert (settings.deployment, settings.namespace) == ("dep", "team")
    settings = completed(settings_of("--file", path, "--sdep", "mine", "--namespace", "here"))
    assert (settings.deployment, settings.namespace) == ("mine", "here")
    assert completed(settings_of("--predictor-file", "p.json")).protocol == "seldon"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"protocol": "soap"}, r"sdep.yaml: spec.protocol: 'soap' is not one of seldon, tensorflow, v2, kfserving"),
        ({"serverType": "kafka"}, "sdep.yaml: spec.serverType: 'kafka': this executor answers REST and gRPC"),
        ({"predictors": []}, r"--predictor \(none\): the file has none"),
        ({"predictors": 1}, "sdep.yaml: spec.predictors"),
    ],
)
def test_manifest_that_cannot_be_run_says_why(tmp_path: Path, spec: dict[str, Any], text: str) -> None:
    settings = settings_of("--file", str(manifest(tmp_path, "main", **spec)))
    with pytest.raises(GraphError, match=text):
        load_spec(completed(settings))


def test_fields_that_nothing_reads_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph = {"name": "a", "type": "MODEL", "childern": [{"name": "b"}], "endpoint": {"host": "h"}, "children": []}
    load_spec(settings_of("--file", str(manifest(tmp_path, "main", graph=graph, protocl="v2", replicas=2))))
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "nothing here reads spec.predictors[0].graph.childern, spec.predictors[0].graph.endpoint, spec.protocl"
    ]
    caplog.clear()
    path = tmp_path / "predictor.json"
    path.write_text(json.dumps({"name": "main", "graph": graph, "componentSpecs": [{"spec": {"any": 1}, "hpa": {}}]}))
    load_spec(settings_of("--predictor-file", str(path)))
    assert "nothing here reads predictor.graph.childern, predictor.graph.endpoint" in caplog.text
    caplog.clear()
    load_spec(settings_of("--file", str(manifest(tmp_path, "main"))))
    assert not caplog.records


def test_manifest_s_node_may_have_an_endpoint_instead_of_a_container(tmp_path: Path) -> None:
    endpoint = {"service_host": "127.0.0.1", "service_port": 7, "httpPort": 7, "grpcPort": 8}
    path = manifest(tmp_path, "main", graph={"name": "b", "type": "MODEL", "endpoint": endpoint})
    placed = load_spec(settings_of("--file", str(path))).graph.endpoint
    assert placed is not None
    assert (placed.service_host, placed.http_port, placed.grpc_port) == ("127.0.0.1", 7, 8)


def test_manifest_may_stand_among_other_documents_but_not_twice(tmp_path: Path) -> None:
    path = manifest(tmp_path, "main")
    text = path.read_text()
    path.write_text(f"---\nkind: Namespace\n---\n{text}\n---\n")
    assert load_spec(settings_of("--file", str(path))).name == "main"
    for wrong in (f"{text}\n---\n{text}", "kind: Namespace", ""):
        path.write_text(wrong)
        with pytest.raises(GraphError, match="expected one"):
            load_spec(settings_of("--file", str(path)))
    path.write_text("a: [")
    with pytest.raises(GraphError, match="no YAML: while parsing") as refused:
        load_spec(settings_of("--file", str(path)))
    assert "\n" not in str(refused.value)


def test_annotations_of_the_manifest_s_spec_are_the_predictor_s(tmp_path: Path) -> None:
    path = manifest(tmp_path, "main", annotations={"seldon.io/rest-timeout": "1500"})
    assert call_limits(load_spec(settings_of("--file", str(path))).annotations).rest_timeout_s == 1.5
