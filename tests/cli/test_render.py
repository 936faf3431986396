"""`slipway render`: the controller's objects as manifests, and a form that stands without controller and Istio."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from slipway.cli.main import main
from slipway.contract.limits import MAX_BODY_BYTES
from slipway.controller.meta import Object
from slipway.onebox.services.credentials import Role, render_credentials
from slipway.onebox.settings import Settings
from tests.contract.manifests import component, node, predictor, sdep
from tests.data import REPOSITORY
from tests.manifests.schemas import (
    KUBERNETES,
    complain_of_definition,
    complain_of_kubernetes,
    is_of_kubernetes,
)

PLAIN = REPOSITORY / "seldon" / "plain" / "yolo"
BASE = str(REPOSITORY / "seldon" / "base" / "yolo")
CANARY = str(REPOSITORY / "seldon" / "overlays" / "canary")
HTTP_ROUTE = ("--plain", "--route", "httproute", "--of", "infra/public")
INGRESS = ("--plain", "--route", "ingress")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["render", *map(str, words)])


def rendered(*words: str | Path) -> list[Object]:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def written(tmp_path: Path, *predictors: Object, **more: Any) -> Path:
    path = tmp_path / "sdep.yaml"
    path.write_text(yaml.safe_dump(sdep(*predictors, **more)))
    return path


def test_folder_of_plain_manifests_is_what_the_command_writes(tmp_path):
    """Change seldon/base/yolo or the controller, then run the command of the page that writes seldon/plain/yolo."""
    assert shutil.which("kubectl"), "kustomizations are rendered by kubectl"
    assert run("-k", BASE, *HTTP_ROUTE, "--to", tmp_path).exit_code == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        path.name: path.read_text() for path in PLAIN.iterdir()
    }


def test_plain_form_needs_no_controller_no_istio_and_has_no_owner():
    found = rendered("-k", BASE, *INGRESS, "--host", "yolo.example", "--of", "public")
    assert {obj["kind"] for obj in found} == {"Service", "ConfigMap", "Deployment", "Ingress"}
    assert all("ownerReferences" not in obj["metadata"] for obj in found)
    ingress = found[-1]
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == "12m"
    assert MAX_BODY_BYTES == 12 * 1024**2
    assert ingress["spec"]["ingressClassName"] == "public"
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "yolo.example"
    backend = rule["http"]["paths"][0]["backend"]["service"]
    (service,) = (obj for obj in found if obj["metadata"]["name"] == backend["name"] and obj["kind"] == "Service")
    assert backend["port"]["number"] in {port["port"] for port in service["spec"]["ports"]}
    (deployment,) = (obj for obj in found if obj["kind"] == "Deployment")
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.data
@pytest.mark.parametrize("words", [INGRESS, HTTP_ROUTE], ids=lambda words: words[-1])
def test_plain_forms_keep_to_their_schemas(words):
    for obj in rendered("-k", BASE, *words):
        if is_of_kubernetes(obj):
            assert [complain_of_kubernetes(obj, version) for version in KUBERNETES] == [""] * len(KUBERNETES)
        else:
            assert complain_of_definition(obj) == []


@pytest.mark.data
def test_http_route_has_the_percentages_and_the_shadow(tmp_path):
    live = (predictor("stable", traffic=90), predictor("canary", traffic=10))
    route = rendered("-f", written(tmp_path, *live, predictor("dark", shadow=True, traffic=40)), *HTTP_ROUTE)[-1]
    assert complain_of_definition(route) == []
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "infra"}]
    *_, rule = route["spec"]["rules"]
    assert [(item["name"], item["weight"]) for item in rule["backendRefs"]] == [
        ("iris-stable", 90),
        ("iris-canary", 10),
    ]
    (mirror,) = (item["requestMirror"] for item in rule["filters"] if item["type"] == "RequestMirror")
    assert (mirror["backendRef"]["name"], mirror["percent"]) == ("iris-dark", 40)


@pytest.mark.data
def test_http_route_leads_feedback_to_whoever_answered(tmp_path):
    shares = [100, *[0] * 14]
    rows = [predictor(f"p{number}", traffic=share) for number, share in enumerate(shares)]
    route = rendered("-f", written(tmp_path, *rows, predictor("dark", shadow=True, traffic=40)), *HTTP_ROUTE)[-1]
    assert complain_of_definition(route) == []
    *rules, _ = route["spec"]["rules"]
    path = "api/v1.0/feedback"
    for number, rule in enumerate(rules):
        (match,), (rewrite,), (backend,) = rule["matches"], rule["filters"], rule["backendRefs"]
        assert match["path"] == {"type": "Exact", "value": f"/seldon/team/iris/{path}"}
        assert match["headers"] == [{"name": "slipway-predictor", "value": f"p{number}"}]
        assert rewrite["urlRewrite"]["path"]["replaceFullPath"] == f"/{path}"
        assert backend["name"] == f"iris-p{number}"
    assert len(rules) == len(rows)
    result = run("-f", written(tmp_path, *rows, predictor("p15", traffic=0)), *HTTP_ROUTE)
    assert "spec.predictors: an HTTPRoute has places for 15 predictors that answer" in result.output


@pytest.mark.parametrize(
    ("predictors", "more", "said"),
    [
        (
            (predictor("a", traffic=90), predictor("b", traffic=10)),
            {},
            r"spec\.predictors\[1\]: an Ingress knows no second",
        ),
        ((predictor("a"), predictor("b", shadow=True)), {}, r"spec\.predictors\[1\]: an Ingress knows no shadow"),
        ((predictor(),), {"annotations": {"slipway.dev/sticky": "header:x-user"}}, "sticky.: takes a mesh"),
        ((predictor(annotations={"slipway.dev/match": "header:a=b"}),), {}, "match.: takes a mesh"),
        ((predictor(annotations={"slipway.dev/follow-alias": "true"}),), {}, "follow-alias.: takes the controller"),
        ((predictor(graph=node(modelUri="models:/shapes@champion")),), {}, r"graph\.modelUri: each Pod would look"),
        (
            (predictor(componentSpecs=[component("clf", kedaSpec={"triggers": [{"type": "cron", "metadata": {}}]})]),),
            {},
            "kedaSpec: this controller runs without KEDA",
        ),
    ],
)
def test_plain_form_refuses_what_it_could_not_carry_out(tmp_path, predictors, more, said):
    result = run("-f", written(tmp_path, *predictors, **more), *INGRESS)
    assert result.exit_code == 1
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(result.output)


def test_what_the_controller_would_refuse_is_refused_with_its_field(tmp_path):
    result = run("-f", written(tmp_path, predictor("a", traffic=50), predictor("b", traffic=20)))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "traffic" in result.output


def test_without_plain_it_is_what_the_controller_makes_and_others_stay_as_they_are(tmp_path):
    path = written(tmp_path, predictor())
    path.write_text(path.read_text() + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\ndata: {a: b}\n")
    found = rendered("-f", path, "-n", "team")
    kinds = [obj["kind"] for obj in found]
    assert {"Deployment", "Service", "VirtualService", "DestinationRule"} <= set(kinds)
    assert {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}, "data": {"a": "b"}} in found
    assert {obj["metadata"].get("namespace") for obj in found if obj["metadata"]["name"] != "own"} == {"team"}
    assert len(rendered("-k", CANARY)) > len(rendered("-k", BASE))


def test_an_earlier_folder_is_replaced_and_a_foreign_one_is_not(tmp_path):
    folder = tmp_path / "made"
    assert run("-f", written(tmp_path, predictor("first")), *INGRESS, "--to", folder).exit_code == 0
    assert run("-f", written(tmp_path, predictor("second")), *INGRESS, "--to", folder).exit_code == 0
    names = {path.name for path in folder.iterdir()}
    assert "service-iris-second.yaml" in names
    assert "service-iris-first.yaml" not in names
    (folder / "own.yaml").write_text("mine\n")
    result = run("-f", tmp_path / "sdep.yaml", *INGRESS, "--to", folder)
    assert result.exit_code == 1
    assert "own.yaml" in result.output
    assert {path.name for path in folder.iterdir()} == {*names, "own.yaml"}


@pytest.mark.parametrize("names", [("a", "a"), ("../a", "b")])
def test_objects_that_would_be_one_file_or_one_elsewhere_are_refused(tmp_path, names):
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {}, namespace: {}}}\n"
    (tmp_path / "own.yaml").write_text(
        "---\n".join(head.format(name, space) for name, space in zip(names, "xy", strict=True))
    )
    result = run("-f", tmp_path / "own.yaml", "--to", tmp_path / "made")
    assert result.exit_code == 1
    assert "ConfigMap" in result.output
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what to render"),
        (("-k", BASE, "--route", "ingress"), "go with --plain"),
        (("-k", BASE, "--plain", "--route", "httproute"), "--of NAMESPACE/NAME"),
        (("-k", BASE, "--plain"), "--route httproute --of NAMESPACE/NAME or --route ingress"),
    ],
)
def test_wrong_usage_is_said(words, said):
    result = run(*words)
    assert (result.exit_code, said in result.output) == (2, True)


def test_commands_of_the_page_do_what_it_says(tmp_path, monkeypatch):
    page = (REPOSITORY / "docs" / "without-istio.md").read_text()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seldon").symlink_to(REPOSITORY / "seldon")
    shutil.copy(REPOSITORY / "seldon" / "base" / "yolo" / "seldondeployment.yaml", tmp_path / "yolo.yaml")
    commands = re.findall(r"^\$ slipway render (.*?)(?: \| .*)?$", page, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert run(*command.split()).exit_code == 0, command
    assert (tmp_path / "deploy" / "yolo" / "httproute-yolo.yaml").exists()
    for folder in re.findall(r"kubectl apply -k (\S+)", page):
        assert (REPOSITORY / folder / "kustomization.yaml").exists()


def test_page_names_every_variable_that_a_storage_initializer_reads():
    page = (REPOSITORY / "docs" / "without-istio.md").read_text()
    variables = {name for name in re.findall(r"`([A-Z_0-9]+)`", page) if name.startswith(("AWS_", "MLFLOW_"))}
    given = set(render_credentials(Settings(), Role("a", "b", "c", "d")))
    assert variables == given - {
        "MLFLOW_S3_ENDPOINT_URL"
    }  # of the same address as AWS_ENDPOINT_URL, for MLflow's client
