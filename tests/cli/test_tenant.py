"""`slipway tenant`: what a team gets, and what is refused; against a real API process, and one that serves more kinds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from slipway.cli import tenant
from slipway.cli.main import main
from slipway.cli.tenant import FOLDER
from slipway.cli.tenant_objects import (
    ENFORCE,
    OF_PODS,
    Team,
    TeamError,
    objects_of,
    parse_quota,
    pod_security,
    refuse_foreign,
    refuse_name,
    why_left_out,
)
from slipway.onebox.services.hub.tenant import load_tenant
from tests.contract.manifests import sdep
from tests.data import REPOSITORY
from tests.onebox_api.conftest import ApiProcess, running_api
from tests.waiting import wait_until

Object = dict[str, Any]
Slipway = Callable[..., Result]
HUBS = {"Namespace", "ServiceAccount", "Role", "RoleBinding"}


@pytest.fixture(scope="module")
def rendered() -> list[Object]:
    built = subprocess.run(["kubectl", "kustomize", str(FOLDER)], check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(built))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with running_api(tmp_path_factory.mktemp("tenant") / "home") as process:
        yield process


@pytest.fixture
def slipway(api: ApiProcess, monkeypatch: pytest.MonkeyPatch) -> Slipway:
    monkeypatch.setenv("SLIPWAY_HOME", str(api.paths.home))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return lambda *words, stdin="": CliRunner().invoke(main, list(words), input=stdin)


def test_team_has_what_a_hub_user_has_and_its_share(rendered: list[Object]) -> None:
    """And nothing keeps the name that is in the files, where a namespace is meant."""
    team = Team(
        "blue", parse_quota(["requests.cpu=32", "requests.nvidia.com/gpu=2"]), ["ada@example.org"], ["blue-team"]
    )
    made = {(item["kind"], item["metadata"]["name"]): item for item in objects_of(team, rendered)}
    assert {item["metadata"].get("namespace", item["metadata"]["name"]) for item in made.values()} == {"blue"}
    hard = made["ResourceQuota", "tenant"]["spec"]["hard"]
    assert (hard["requests.cpu"], hard["requests.nvidia.com/gpu"], hard["pods"]) == ("32", "2", "100")
    assert made["RoleBinding", "tenant"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "tenant", "namespace": "blue"},
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ada@example.org"},
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "blue-team"},
    ]
    hubs = {item["kind"]: item for item in load_tenant()}
    assert hubs.keys() == HUBS
    assert made["Role", "tenant"]["rules"] == hubs["Role"]["rules"]


def test_team_is_what_kustomize_makes_with_the_namespace(rendered: list[Object], tmp_path: Path) -> None:
    """So that a team can be kept as a kustomization, too."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "all.yaml").write_text(yaml.safe_dump_all(rendered))
    (base / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (tmp_path / "kustomization.yaml").write_text("resources: [base]\nnamespace: blue\n")
    built = subprocess.run(["kubectl", "kustomize", str(tmp_path)], check=True, capture_output=True, text=True).stdout
    by_name = {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(built)}
    by_name["Namespace", "blue"]["metadata"]["labels"][ENFORCE] = "privileged"
    assert by_name == {(item["kind"], item["metadata"]["name"]): item for item in objects_of(Team("blue"), rendered)}


def test_rendered_objects_are_left_as_they_were(rendered: list[Object]) -> None:
    before = yaml.safe_dump(rendered)
    objects_of(Team("blue", {"pods": "1"}, ["ada"]), rendered)
    assert yaml.safe_dump(rendered) == before


@pytest.mark.parametrize("name", ["", "Blue", "-a", "a" * 64, "a_b", "../x", "default", "kube-system", "slipway-system", "istio-system", "monitoring"])  # fmt: skip
def test_name_that_is_no_teams_is_refused(name: str) -> None:
    with pytest.raises(TeamError):
        refuse_name(name)


@pytest.mark.parametrize("words", [["pods"], ["=3"], ["pods="], ["pods=many"], ["pods=-1"], ["pods=1", "pods=2"]])
def test_broken_quota_is_told(words: list[str]) -> None:
    with pytest.raises(TeamError, match="--quota"):
        parse_quota(words)


def test_namespace_of_somebody_else_is_refused() -> None:
    refuse_foreign(None, "blue")
    refuse_foreign({"metadata": {"labels": {"slipway.dev/tenant": "true"}}}, "blue")
    with pytest.raises(TeamError, match="kubectl label namespace blue slipway.dev/tenant=true"):
        refuse_foreign({"metadata": {}}, "blue")


def test_cluster_gets_all_kinds_that_it_serves(rendered: list[Object]) -> None:
    for item in rendered:
        assert why_left_out(item, is_served=True, is_one_machine=False) == ""
        assert item["apiVersion"] in why_left_out(item, is_served=False, is_one_machine=False)
        assert bool(why_left_out(item, is_served=True, is_one_machine=True)) == (item["kind"] in OF_PODS)


@pytest.mark.parametrize(
    ("asked", "has_istio", "has_cni", "has_policies", "level", "is_open"),
    [
        (None, False, False, False, "restricted", False),
        (None, True, True, False, "baseline", False),
        (None, True, False, False, "privileged", True),
        (None, True, False, True, "privileged", False),
        ("baseline", True, False, False, "baseline", False),
        ("restricted", True, True, False, "restricted", False),
        ("privileged", False, False, False, "privileged", False),
    ],
)
def test_level_is_the_strictest_that_sidecars_allow(
    asked: str | None, has_istio: bool, has_cni: bool, has_policies: bool, level: str, is_open: bool
) -> None:
    found, why_not = pod_security(asked, has_istio=has_istio, has_cni=has_cni, has_policies=has_policies)
    assert found == level
    assert bool(why_not) == is_open


def test_team_s_namespace_enforces_the_level(rendered: list[Object]) -> None:
    made = objects_of(Team("blue", pod_security="baseline"), rendered)
    (namespace,) = [item for item in made if item["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"][ENFORCE] == "baseline"
    assert namespace["metadata"]["labels"]["slipway.dev/tenant"] == "true"


def test_one_machine_has_no_sidecars_that_forbid_it(slipway: Slipway) -> None:
    """One machine has Istio's kinds, but no sidecars: the level is enforced, and nothing is said."""
    done = slipway("tenant", "add", "green")
    assert "pod security" not in done.output
    labels = yaml.safe_load(slipway("get", "namespace", "green", "-o", "yaml").output)["metadata"]["labels"]
    assert labels[ENFORCE] == "restricted"


@pytest.mark.parametrize("has_cni", [True, False])
def test_cluster_with_sidecars_says_what_it_does_not_enforce(
    slipway: Slipway, monkeypatch: pytest.MonkeyPatch, *, has_cni: bool
) -> None:
    """The API of one machine, taken for a cluster's: it serves Istio's kinds."""

    async def no(_: object) -> bool:
        return False

    async def cni(_: object) -> bool:
        return has_cni

    monkeypatch.setattr(tenant, "is_one_machine", no)
    monkeypatch.setattr(tenant, "_has_cni", cni)
    done = slipway("tenant", "add", f"mesh-{has_cni}".lower())
    assert done.exit_code == 0, done.output
    assert "authorizationpolicy/tenant created" in done.output
    assert ("a Pod of this team may mount its node's disk" in done.output) == (not has_cni)
    (line,) = [line for line in done.output.splitlines() if "policy/slipway-tenant-hosts left out" in line]
    assert line.endswith("from 1.30 on: a team may take any host")


def test_one_machine_takes_what_it_knows_and_says_what_it_leaves_out(slipway: Slipway) -> None:
    done = slipway("tenant", "add", "red", "--user", "ada")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert {line for line in lines if "left out" not in line} == {
        "namespace/red created",
        "serviceaccount/tenant created",
        "role/tenant created",
        "rolebinding/tenant created",
    }
    assert "resourcequota/tenant left out: this API does not serve v1 ResourceQuota" in lines
    assert "authorizationpolicy/tenant left out: who may reach a Pod is not asked on one machine" in lines
    again = slipway("tenant", "add", "red", "--user", "ada")
    assert "created" not in again.output
    assert "rolebinding/tenant unchanged" in again.output
    other = slipway("tenant", "add", "red", "--user", "grace")
    assert "rolebinding/tenant configured" in other.output


def test_team_may_scale_its_seldondeployments(slipway: Slipway, api: ApiProcess) -> None:
    assert slipway("tenant", "add", "gold", "--user", "ada").exit_code == 0
    as_ada = ("-n", "gold", "--as", "ada")
    manifest = {**sdep(), "metadata": {"name": "iris"}}
    api.kubectl(*as_ada, "apply", "-f", "-", stdin=json.dumps(manifest))
    assert "scaled" in api.kubectl(*as_ada, "scale", "sdep", "iris", "--replicas=3")
    assert api.kubectl(*as_ada, "get", "sdep", "iris", "-o", "jsonpath={.spec.replicas}") == "3"


def test_dry_run_stores_nothing(slipway: Slipway) -> None:
    done = slipway("tenant", "add", "grey", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "namespace/grey created (dry run)" in done.output
    assert "role/tenant would be created (dry run)" in done.output
    assert slipway("get", "namespace", "grey").exit_code == 1


def test_yaml_is_printed_without_an_api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    done = CliRunner().invoke(main, ["tenant", "add", "blue", "--pod-security", "restricted", "-o", "yaml"])
    assert done.exit_code == 0, done.output
    objects = list(yaml.safe_load_all(done.output))
    assert objects[0]["kind"] == "Namespace"
    assert objects[0]["metadata"]["labels"][ENFORCE] == "restricted"
    places = {item["kind"]: item["metadata"].get("namespace") for item in objects[1:]}
    assert places.pop("ValidatingAdmissionPolicy") is places.pop("ValidatingAdmissionPolicyBinding") is None
    assert set(places.values()) == {"blue"}


def test_teams_are_listed_and_removed(slipway: Slipway) -> None:
    assert slipway("tenant", "add", "pink").exit_code == 0
    row = next(line for line in slipway("tenant", "list").output.splitlines() if line.startswith("pink "))
    assert row.split() == ["pink", "Active", "0"]
    told = json.loads(slipway("tenant", "list", "--json").stdout)
    assert {"name": "pink", "status": "Active", "seldonDeployments": 0} in told
    kept = slipway("tenant", "remove", "pink", stdin="n\n")
    assert "Delete the namespace pink with no SeldonDeployment" in kept.output
    assert slipway("get", "namespace", "pink").exit_code == 0
    assert "namespace/pink deleted" in slipway("tenant", "remove", "pink", "--yes").output
    wait_until(lambda: slipway("get", "namespace", "pink").exit_code == 1, what="the namespace's end")
    gone = slipway("tenant", "remove", "pink", "--yes")
    assert (gone.exit_code, "there is no such tenant" in gone.output) == (1, True)


def test_default_namespace_with_the_label_is_no_team(slipway: Slipway) -> None:
    """As docs/without-istio.md has it, for a model of MLflow's."""
    meta = {"name": "default", "labels": {"slipway.dev/tenant": "true"}}
    labelled = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
    assert slipway("apply", "-f", "-", stdin=json.dumps(labelled)).exit_code == 0
    assert "default" not in [row["name"] for row in json.loads(slipway("tenant", "list", "--json").stdout)]


def test_no_team_is_an_empty_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant, "run", lambda _: [])
    told = CliRunner().invoke(main, ["tenant", "list"])
    assert (told.stdout, told.exit_code, "`slipway tenant add TEAM`" in told.stderr) == ("", 0, True)
    assert CliRunner().invoke(main, ["tenant", "list", "--json"]).stdout == "[]\n"


@pytest.mark.parametrize("command", ["add", "remove"])
def test_namespace_that_is_no_tenants_is_left_alone(slipway: Slipway, command: str) -> None:
    applied = slipway("apply", "-f", "-", stdin="{apiVersion: v1, kind: Namespace, metadata: {name: theirs}}")
    assert applied.exit_code == 0, applied.output
    done = slipway("tenant", command, "theirs")
    assert (done.exit_code, "which is no tenant's" in done.output) == (1, True)


def test_user_of_the_hub_is_not_removed_as_a_team(slipway: Slipway) -> None:
    assert slipway("tenant", "add", "user-ada").exit_code == 0
    done = slipway("tenant", "remove", "user-ada", "--yes")
    assert (done.exit_code, "`slipway hub remove ada`" in done.output) == (1, True)


def test_page_tells_what_is_there(rendered: list[Object]) -> None:
    page = (REPOSITORY / "docs" / "tenants.md").read_text()
    for item in rendered:
        assert f"| {item['kind']} |" in page or f" {item['kind']}" in page, item["kind"]
    (quota,) = [item for item in rendered if item["kind"] == "ResourceQuota"]
    for name, amount in quota["spec"]["hard"].items():
        assert f"| `{name}` | {amount} |" in page, name
