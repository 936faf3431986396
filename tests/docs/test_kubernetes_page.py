"""docs/kubernetes.md: each command fits its program, each file is there, each number is the sum that it says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipway import __version__
from slipway.cli.main import main
from tests.data import REPOSITORY
from tests.docs import helm, kubectl, programs, prose, requests, steps, wanted, workspace, world
from tests.docs.commands import Command, blocks, commands, option, options
from tests.docs.findings import assert_none
from tests.helm_values.charts import (
    Values,
    charts,
    defaults,
    load,
    merge,
    not_validated,
    repositories,
    tables,
)
from tests.manifests.not_validated import NOT_VALIDATED

PAGE = REPOSITORY / "docs" / "kubernetes.md"
TEXT = PAGE.read_text()
COMMANDS = commands(TEXT)
BUILTINS = {"set", ".", "export"}
SECRETS_OF_OTHERS = {("slipway-system", "mlflow-db-app")}
"""CloudNativePG makes it."""
SERVERS = REPOSITORY / "kubernetes" / "controller" / "predictor-servers.json"
"""Images of prepackaged servers, which are built when they are used."""
OWN_REGISTRY = "europe-west4-docker.pkg.dev/PROJECT/slipway"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("workspace")
    return workspace.prepare(made, COMMANDS, blocks(TEXT, "yaml"), repository=REPOSITORY)


@pytest.fixture(scope="module")
def made(folder: Path) -> world.World:
    return world.made(COMMANDS, charts().values(), repository=folder, folder=folder)


def _of(program: str) -> list[Command]:
    found = [command for command in COMMANDS if command.program == program]
    assert found, f"the page has no {program} any more: take its check out"
    return found


def test_every_command_is_of_a_program_that_is_checked() -> None:
    known = {"kubectl", "helm", "slipway", "make", "python", *BUILTINS, *programs.EXTERNAL}
    assert {command.program for command in COMMANDS} <= known
    assert len(COMMANDS) > 80


def test_kubectl_has_every_subcommand_and_flag() -> None:
    assert_none(said for command in _of("kubectl") for said in kubectl.complain_of_flags(command))


def test_files_and_folders_of_kubectl_and_slipway_exist(folder: Path) -> None:
    both = [*_of("kubectl"), *_of("slipway")]
    assert_none(said for command in both for said in kubectl.complain_of_files(command, folder))


def test_kubectl_would_create_everything(folder: Path) -> None:
    creates = [command for command in _of("kubectl") if world.is_tried(command)]
    assert len(creates) > 10
    assert_none(said for command in creates for said in kubectl.complain_of_create(command, folder))


def test_whatever_a_command_names_is_made_by_another(made: world.World) -> None:
    assert_none(said for command in _of("kubectl") for said in world.complain_of_targets(command, made))


def test_ports_that_are_forwarded_are_the_services(made: world.World) -> None:
    forwards = [command for command in _of("kubectl") if "port-forward" in command.words]
    assert len(forwards) > 3
    assert_none(said for command in forwards for said in steps.complain_of_ports(command, made))


@pytest.mark.data
def test_ports_of_charts_are_those_of_the_values() -> None:
    ports = _values("gateway", small=False)["service"]["ports"]
    known = steps.PORTS_OF_CHARTS
    assert known["istio-system", "istio-ingressgateway"] <= {str(port["port"]) for port in ports}
    assert known["seaweedfs", "seaweedfs-s3"] == {str(_values("seaweedfs", small=False)["s3"]["port"])}


def test_every_namespace_is_made_above_its_first_use(folder: Path) -> None:
    assert_none(steps.namespaces_too_early(COMMANDS, folder))


def test_charts_are_those_of_the_table() -> None:
    known = charts(), repositories()
    assert_none(said for command in _of("helm") for said in helm.complain(command, *known, repository=REPOSITORY))


def test_nothing_is_set_by_hand_that_a_file_could_hold() -> None:
    by_hand = {item for command in _of("helm") for item in options(command.words, "--set")}
    assert by_hand == {"crds.enabled=true"}  # cert-manager has no file here


def _receivers() -> Values:
    values: Values = load(REPOSITORY / "helm-values" / "kube-prometheus-stack-receivers.yaml")["alertmanager"]
    return values


def test_every_severity_of_our_rules_has_a_receiver_whose_address_is_in_the_secret(folder: Path) -> None:
    rules = kubectl.build(REPOSITORY / "monitoring" / "kubernetes")
    severities = {
        rule["labels"]["severity"]
        for item in rules
        if item["kind"] == "PrometheusRule"
        for group in item["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    config = _receivers()["config"]
    routed = {matcher: route["receiver"] for route in config["route"]["routes"] for matcher in route["matchers"]}
    assert {f'severity="{severity}"' for severity in severities} <= set(routed)
    files = {
        item["name"]: [hook["url_file"] for hook in item.get("webhook_configs", [])] for item in config["receivers"]
    }
    assert set(routed.values()) | {config["route"]["receiver"]} == set(files)
    (secret,) = _receivers()["alertmanagerSpec"]["secrets"]
    lines = (folder / "build" / "secrets" / f"{secret}.env").read_text().splitlines()
    held = {f"/etc/alertmanager/secrets/{secret}/{line.partition('=')[0]}" for line in lines}
    assert {path for paths in files.values() for path in paths} == held


def test_every_chart_of_the_table_is_installed_from_an_added_repository() -> None:
    installed = {command.words[4].partition("/")[2] for command in _of("helm") if "--install" in command.words}
    assert installed == set(charts())
    added = [command.words[3] for command in _of("helm") if command.words[1:3] == ("repo", "add")]
    assert sorted(added) == sorted(repositories())


def test_slipway_takes_every_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert_none(said for command in _of("slipway") for said in programs.complain_of_slipway(command))


def test_slipway_s_own_check_finds_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for command in _of("slipway"):
        if command.words[1] == "check":
            run = CliRunner().invoke(main, list(command.words[1:]))
            assert run.exit_code == 0, run.output


def test_make_has_every_target_and_variable() -> None:
    assert_none(said for command in _of("make") for said in programs.complain_of_make(command, REPOSITORY / "Makefile"))


def test_modules_and_programs_of_others_are_known() -> None:
    assert_none(said for command in _of("python") for said in programs.complain_of_module(command, REPOSITORY))
    external = [command for command in COMMANDS if command.program in programs.EXTERNAL]
    assert_none(said for command in external for said in programs.complain_of_external(command))


def test_files_that_curl_and_the_shell_read_are_there(folder: Path) -> None:
    for command in COMMANDS:
        if command.program == ".":
            assert (folder / command.words[1]).is_file(), command
        if command.program == "curl" and (netrc := option(command.words, "--netrc-file")):
            assert (folder / netrc).is_file(), command
            assert (folder / option(command.words, "--data").removeprefix("@")).is_file(), command


def test_every_secret_that_manifests_and_charts_read_is_made(made: world.World) -> None:
    exist = {(namespace, name) for namespace, kind, name in made.objects if kind == "secret"}
    grafana = load(REPOSITORY / "helm-values" / "kube-prometheus-stack.yaml")["grafana"]["admin"]["existingSecret"]
    of_charts = {
        ("seaweedfs", load(REPOSITORY / "helm-values" / "seaweedfs.yaml")["s3"]["existingConfigSecret"]),
        ("monitoring", grafana),
        ("jupyterhub", "hub-google"),
        *(("monitoring", name) for name in _receivers()["alertmanagerSpec"]["secrets"]),
        ("istio-system", "gateway-tls"),
    }
    assert wanted.secrets_missing(made) == SECRETS_OF_OTHERS
    assert of_charts <= exist
    (rows,) = [table for table in tables(TEXT) if "Secret" in table[0]]
    told = {(row["namespace"].replace("NAME", "ada"), row["Secret"].strip("`").replace("NAME", "ada")) for row in rows}
    assert told == exist | SECRETS_OF_OTHERS


def test_every_image_is_built_and_those_of_the_start_are_saved(made: world.World) -> None:
    saved = next(command for command in _of("docker") if command.words[1] == "save")
    first, *later = (set(_images_made(command)) for command in _of("make"))
    built = first.union(*later)
    assert {word for word in saved.words if ":" in word} == {f"slipway/{name}:{__version__}" for name in first}
    assert wanted.images_used(made.whole, but=[SERVERS.read_text()]) <= built
    assert built <= {path.parent.name for path in REPOSITORY.glob("images/*/image.yaml")}


def test_what_is_built_for_a_registry_of_your_own_is_pushed_there() -> None:
    (command,) = [command for command in _of("make") if f"REGISTRY={OWN_REGISTRY}" in command.words]
    pushed = [command.words[2] for command in _of("docker") if command.words[1] == "push"]
    assert pushed == [f"{OWN_REGISTRY}/slipway/{name}:{__version__}" for name in _images_made(command)] != []


def _images_made(command: Command) -> list[str]:
    return next((word.partition("=")[2].split() for word in command.words if word.startswith("IMAGES=")), [])


def test_registry_of_your_own_reaches_every_container(folder: Path) -> None:
    """Those of the prepackaged servers, too, which stand in a file of the controller."""
    whole, mine = kubectl.build(REPOSITORY / "kubernetes"), kubectl.build(folder / "my-cluster")
    assert wanted.images_used(whole)
    assert not wanted.images_used(mine)
    assert _servers(mine) == {name: f"{OWN_REGISTRY}/{image}" for name, image in _servers(whole).items()}


def _servers(objects: Iterable[kubectl.Object]) -> dict[str, str]:
    (found,) = [item for item in objects if item["metadata"]["name"].startswith("slipway-controller-servers")]
    servers: dict[str, str] = json.loads(found["data"][SERVERS.name])
    return servers


def test_controller_serves_the_address_that_curl_asks(made: world.World) -> None:
    services = [item for item in made.whole if item["kind"] == "VirtualService"]
    matches = [match for item in services for route in item["spec"]["http"] for match in route.get("match", [])]
    prefixes = [match["uri"]["prefix"] for match in matches if "prefix" in match.get("uri", {})]
    asked = next(command for command in _of("curl") if "8080" in command.words[-1]).words[-1]
    path = "/" + asked.split("/", 3)[3]
    assert any(path.startswith(prefix) for prefix in prefixes)


def test_grafana_finds_the_dashboards(made: world.World) -> None:
    sidecar = load(REPOSITORY / "helm-values" / "kube-prometheus-stack.yaml")["grafana"]["sidecar"]["dashboards"]
    labels = [item["metadata"].get("labels", {}) for item in made.whole if item["kind"] == "ConfigMap"]
    assert [found for found in labels if found.get(sidecar["label"]) == sidecar["labelValue"]]
    assert not [found for found in labels if found.get(sidecar["label"], "1") != sidecar["labelValue"]]
    assert sidecar["searchNamespace"] == "ALL"


def _values(name: str, *, small: bool) -> Values:
    chart = charts()[name]
    values: Values = defaults(name) if name in ("istiod", "gateway", "seaweedfs") else {}
    for path in (*chart.files, *(chart.small if small else ())):
        values = merge(values, load(path))
    return values


def _parts(*, small: bool) -> dict[str, requests.Sum]:
    return {
        "Istio: control plane and gateway": requests.of_istio(
            _values("istiod", small=small), _values("gateway", small=small)
        ),
        "SeaweedFS": requests.of_store(_values("seaweedfs", small=small)),
        "MLflow with PostgreSQL": requests.of_objects(kubectl.build(REPOSITORY / "mlflow" / "overlays" / "cnpg")),
        "Slipway: controller and webhook": requests.of_objects(kubectl.build(REPOSITORY / "kubernetes")),
        "Prometheus, Alertmanager, Grafana": requests.of_metrics(_values("kube-prometheus-stack", small=small)),
        "JupyterHub without users": requests.of_hub(_values("jupyterhub", small=small)),
    }


@pytest.mark.data
def test_table_of_costs_adds_up() -> None:
    (rows,) = [table for table in tables(TEXT) if "part" in table[0]]
    told = {row["part"]: row for row in rows}
    sums = {size: _parts(small=size == "small") for size in ("whole", "small")}
    for size, parts in sums.items():
        parts["together"] = requests.total(list(parts.values()))
        for part, asked in parts.items():
            row = told[part]
            assert tuple(row[f"{size}: {what}"] for what in ("CPU", "memory", "disk")) == asked.row(), (size, part)
    assert set(told) == set(sums["whole"])


def test_what_is_not_validated_is_told() -> None:
    (rows,) = [table for table in tables(TEXT) if "what" in table[0] and "how" in table[0]]
    admitted = " ".join(row["what"] for row in rows if row["how"].startswith(("not validated", "not seen")))
    assert all(chart in admitted for chart in not_validated())
    assert all(kind in admitted for _, kind in NOT_VALIDATED)
    assert "Helm" in admitted


def test_links_lead_somewhere() -> None:
    assert_none(prose.complain_of_links(PAGE))


def test_paths_in_the_text_exist(folder: Path) -> None:
    paths = prose.paths(TEXT, {entry.name for entry in REPOSITORY.iterdir() if entry.is_dir()} - {"build"})
    assert paths
    assert_none(f"{path} does not exist" for path in paths if not (folder / path).exists())
