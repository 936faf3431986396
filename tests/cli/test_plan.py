"""`slipway plan`: it says what an apply then does, down to the Pods that restart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from slipway.cli.apply import explained_absence
from slipway.cli.main import main
from slipway.cli.objects import Failure
from slipway.cli.plan import CHANGES
from slipway.cli.plan_effects import ObjectPlan, field_changes, render_plan, restart, shares
from slipway.cli.plan_look import Planner
from slipway.contract.predictor_servers import SHIPPED
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.options import make_parser, settings_of
from slipway.controller.settings import ONE_MACHINE
from slipway.kube.discovery import is_one_machine
from slipway.kube.errors import ApiError, Forbidden, NotFound
from slipway.kube.kinds import CONFIG_MAP, DEPLOYMENT, POD, SELDON_DEPLOYMENT, Kind
from slipway.onebox.images.build import build
from slipway.onebox.images.store import Store
from slipway.onebox.paths import Paths
from slipway.onebox.services.platform import build_specs
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.services.wanted import Wish
from slipway.onebox.settings import Settings as MachineSettings
from tests.contract.manifests import node, predictor, sdep
from tests.contract.test_learning import router
from tests.controller.cases import SETTINGS
from tests.controller.conftest import NAMESPACE, Platform
from tests.onebox_api.conftest import running_api

Object = dict[str, Any]
POD_TEXT = "apiVersion: v1\nkind: Pod\nmetadata: {name: hello}\nspec: {containers: [{name: a, image: 'me/hello:1'}]}\n"
STABLE, CANARY = "iris-stable-0-clf", "iris-canary-0-clf"


def manifest(*predictors: Object) -> Object:
    whole = sdep(*predictors)
    return {**whole, "metadata": {"name": "iris", "namespace": NAMESPACE}}


def canary(stable: int = 90, *, image: str = "", uri: str = "") -> Object:
    graph = node(type="MODEL", **({"modelUri": uri} if uri else {}))
    changed = predictor("canary", graph, traffic=100 - stable)
    if image:
        changed["componentSpecs"][0]["spec"]["containers"][0]["image"] = image
    return manifest(predictor("stable", node(type="MODEL"), traffic=stable), changed)


@pytest.fixture
async def planner(platform: Platform) -> AsyncIterator[Planner]:
    async with aiohttp.ClientSession() as session:
        yield Planner(platform.kube, platform.address, session, NAMESPACE, SETTINGS)


async def settled(platform: Platform, body: Object) -> None:
    """``body`` is applied, its Deployments are ready and the controller has nothing left to do."""
    await platform.apply(body)
    await platform.until(lambda status: len(status["predictors"]) == len(body["spec"]["predictors"]), what="a look")
    for name in await platform.names(DEPLOYMENT):
        await platform.make_ready(name)
    await platform.until(lambda status: status["state"] == "Available", what="Available")


async def only(planner: Planner, body: Object) -> ObjectPlan:
    (plan,) = await planner.plan([body])
    return plan


async def test_a_new_one_is_all_created_and_nothing_is_stored(platform: Platform, planner: Planner) -> None:
    plan = await only(planner, canary(uri="models:/shapes@champion"))
    assert (plan.outcome, {write.verb for write in plan.writes}, plan.restarts) == ("created", {"Create"}, ())
    assert [str(share) for share in plan.traffic] == ["stable none → 90 %", "canary none → 10 %"]
    assert [str(model) for model in plan.models] == [
        f"canary/clf: models:/shapes@champion is shapes/1 sha256:{'1' * 64}"
    ]
    assert (await platform.kube.list(SELDON_DEPLOYMENT, namespace=NAMESPACE)).items == ()


async def test_its_creations_are_what_the_controller_then_makes(platform: Platform, planner: Planner) -> None:
    plan = await only(planner, canary())
    await settled(platform, canary())
    for kind in (DEPLOYMENT, CONFIG_MAP):
        planned = sorted(write.name for write in plan.writes if write.kind == kind.kind)
        assert await platform.names(kind) == planned


async def test_the_same_again_is_empty(platform: Platform, planner: Planner) -> None:
    await settled(platform, canary())
    plan = await only(planner, canary())
    assert plan.is_empty, plan
    assert render_plan([plan]) == "0 to create, 0 to change, 1 unchanged; Pods that restart: 0"


async def test_other_percentages_restart_nothing(platform: Platform, planner: Planner) -> None:
    await settled(platform, canary())
    plan = await only(planner, canary(75))
    assert [(write.verb, write.kind) for write in plan.writes if write.kind != "ConfigMap"] == [
        ("Update", "VirtualService")
    ]
    assert plan.restarts == ()
    assert [str(change) for change in plan.fields] == [
        "spec.predictors[0].traffic: 90 → 75",
        "spec.predictors[1].traffic: 10 → 25",
    ]
    assert [str(share) for share in plan.traffic] == ["stable 90 % → 75 %", "canary 10 % → 25 %"]


async def test_another_image_restarts_the_pods_of_that_predictor_only(platform: Platform, planner: Planner) -> None:
    await settled(platform, canary())
    for deployment, name in ((STABLE, "s-1"), (CANARY, "c-1")):
        found = await platform.kube.get(DEPLOYMENT, deployment, namespace=NAMESPACE)
        template = found["spec"]["template"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": template["metadata"]["labels"]},
            "spec": template["spec"],
        }
        await platform.kube.create(pod, kind=POD, namespace=NAMESPACE)
    plan = await only(planner, canary(image="example/clf:0.2"))
    assert [(item.deployment, item.pods) for item in plan.restarts] == [(CANARY, ("c-1",))]
    assert "containers[0].image differs" in plan.restarts[0].reason
    assert "Pods that restart: 1" in render_plan([plan])


async def test_a_predictor_that_goes_is_deleted_last(platform: Platform, planner: Planner) -> None:
    await settled(platform, canary())
    plan = await only(planner, manifest(predictor("stable", node(type="MODEL"))))
    deleted = [(write.name, write.waits) for write in plan.writes if write.verb == "Delete"]
    assert (CANARY, True) in deleted
    assert [str(share) for share in plan.traffic] == ["stable 90 % → 100 %", "canary 10 % → none"]


async def test_a_moved_alias_is_seen_where_the_predictor_is_edited(platform: Platform, planner: Planner) -> None:
    uri = "models:/shapes@champion"
    await settled(platform, canary(uri=uri))
    platform.registry.aliases["champion"] = "2"
    assert (await only(planner, canary(uri=uri))).is_empty
    plan = await only(planner, canary(uri=uri, image="example/clf:0.2"))
    assert [(model.version, model.before) for model in plan.models] == [("shapes/2", "shapes/1")]
    assert "is shapes/2 sha256:" in render_plan([plan])
    platform.registry.aliases["champion"] = "1"
    same = await only(planner, canary(uri=uri, image="example/clf:0.2"))
    assert "shapes/1" not in render_plan([same])


async def test_a_registry_that_is_away_is_said(platform: Platform, planner: Planner) -> None:
    platform.registry.is_away = True
    plan = await only(planner, canary(uri="models:/shapes@champion"))
    assert (plan.writes, plan.models) == ((), ())
    assert "which version would run is not known" in plan.warnings[0]


async def test_what_the_api_refuses_is_refused(planner: Planner) -> None:
    wrong = canary()
    wrong["spec"]["predictors"][0]["traffic"] = 95
    with pytest.raises(ApiError, match="sums to 105"):
        await planner.plan([wrong])


async def test_what_the_api_would_refuse_of_the_controller_s_writes_is_a_warning(
    platform: Platform, planner: Planner
) -> None:
    twice = canary()
    (container,) = twice["spec"]["predictors"][1]["componentSpecs"][0]["spec"]["containers"]
    container["ports"] = [{"name": "a", "containerPort": 7}, {"name": "b", "containerPort": 7}]
    plan = await only(planner, twice)
    (warning,) = plan.warnings
    assert warning.startswith(f"the API would refuse Deployment {CANARY}: ")
    assert "containerPort=7" in warning
    assert (await only(planner, canary())).warnings == ()
    assert await platform.names(DEPLOYMENT) == [], "nothing was stored"


async def test_plans_of_one_machine_assume_the_controller_that_slipway_up_starts(
    platform: Platform, tmp_path: Path
) -> None:
    paths = Paths(tmp_path / "home")
    specs = build_specs(paths, MachineSettings(), ensure_secrets(paths.secrets), Wish())
    (argv,) = [spec.argv for spec in specs if spec.name == "controller"]
    parser = make_parser({})
    assert settings_of(parser, parser.parse_args(argv[argv.index("slipway.controller") + 1 :])) == ONE_MACHINE
    assert await is_one_machine(platform.kube)


async def test_a_cluster_is_told_from_one_machine(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    async def version(*_: str) -> Object:
        return {"gitVersion": "v1.32.0-eks-1"}

    monkeypatch.setattr(platform.kube, "request", version)
    assert not await is_one_machine(platform.kube)


async def test_router_whose_replicas_learn_alone_is_warned_of(planner: Planner) -> None:
    plan = await only(planner, manifest(predictor(graph=router(), replicas=3)))
    assert [text for text in plan.warnings if "learns alone in each of up to 3 replicas (state=memory)" in text]


async def test_objects_of_a_namespace_that_comes_along_are_planned(planner: Planner) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}}
    body = {**canary(), "metadata": {"name": "iris", "namespace": "later"}}
    first, second = await planner.plan([namespace, body])
    assert [first.outcome, second.outcome] == ["created", "created"]
    assert any(write.kind == "Deployment" for write in second.writes)


async def test_namespace_that_is_not_there_is_told_with_the_line_that_makes_it(planner: Planner) -> None:
    body = {**canary(), "metadata": {"name": "iris", "namespace": "nowhere"}}
    with pytest.raises(
        Failure, match="seldondeployment/iris: there is no namespace nowhere: .* create namespace nowhere"
    ):
        await planner.plan([body])
    unserved = NotFound({"message": "the server could not find the requested resource", "code": 404})
    said = explained_absence(unserved, {**body, "apiVersion": "machinelearning.seldon.io/v7"})
    assert str(said).startswith(
        "machinelearning.seldon.io/v7 SeldonDeployment iris: this API does not serve that version"
    )
    absent = NotFound({"message": "no such thing", "code": 404, "details": {"kind": "services", "name": "x"}})
    assert explained_absence(absent, body) is absent


async def test_a_tenant_who_may_not_list_a_kind_is_told_and_plans_the_rest(
    platform: Platform, planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settled(platform, canary())
    listed = platform.kube.list

    async def refusing(kind: Kind, **more: Any) -> Any:
        if kind == CONFIG_MAP:
            raise Forbidden({"message": "no", "code": 403})
        return await listed(kind, **more)

    monkeypatch.setattr(platform.kube, "list", refusing)
    plan = await only(planner, canary(75))
    assert plan.warnings == ("you may not list configmaps: what would change of them is not known",)
    assert [(write.verb, write.kind) for write in plan.writes] == [("Update", "VirtualService")]


async def test_what_the_mesh_of_one_machine_would_not_carry_out_is_a_warning(planner: Planner) -> None:
    rules = [{"issuer": "i", "jwks": "nonsense"}]
    spec = {"selector": {"matchLabels": {"istio": "ingressgateway"}}, "jwtRules": rules}
    metadata = {"name": "istio-system", "namespace": "istio-system"}
    tokens = {"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication", "metadata": metadata, "spec": spec}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}
    for settings, count in ((ONE_MACHINE, 1), (SETTINGS, 0)):
        first, second = await replace(planner, settings=settings).plan([namespace, tokens])
        assert (first.warnings, len(second.warnings)) == ((), count)
        assert all(text.startswith("spec.jwtRules[0].jwks is not JSON") for text in second.warnings)


async def test_an_image_that_nobody_built_is_told_with_the_line_to_run(planner: Planner, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "home")
    source = tmp_path / "source"
    source.mkdir()
    (source / "image.yaml").write_text("name: example/clf\nentrypoint: [python]\nrequirements: none.txt\n")
    (source / "none.txt").write_text("")
    build("example/clf:0.1", paths=paths, folder=source)
    here = replace(planner, images=Store(paths))
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "own", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": "own"}},
            "template": {
                "metadata": {"labels": {"app": "own"}},
                "spec": {
                    "initContainers": [{"name": "first", "image": "me/first:2"}],
                    "containers": [
                        {"name": "clf", "image": "example/clf:0.1"},
                        {"name": "server", "image": SHIPPED["SKLEARN_SERVER"]},
                    ],
                },
            },
        },
    }
    own, seldon = await here.plan([deployment, canary(image="example/clf:0.2")])
    told = "its Pods would wait: image '{0}' was never built on this machine: run `slipway image build {0} FOLDER`"
    assert own.warnings == (told.format("me/first:2"),)
    images = [image for image in ("example/clf:0.1", "example/clf:0.2") if told.format(image) in seldon.warnings]
    assert images == ["example/clf:0.2"]
    assert f"  warning: {told.format('me/first:2')}" in render_plan([own])


def test_a_secret_keeps_its_values() -> None:
    old, new = ({"metadata": {"name": "a"}, "data": {"key": value}} for value in ("b2xk", "bmV3"))
    (change,) = field_changes(old, new, is_secret=True)
    assert str(change) == "data.key: … → …"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ({"image": "a:1"}, {"image": "a:2"}, "spec.template.spec.containers[0].image differs"),
        ({"image": "a:1", "tty": True}, {"image": "a:1"}, "a field of spec.template is no longer given"),
        ({"image": "a:1"}, {"image": "a:1"}, None),
    ],
)
def test_a_deployment_restarts_where_its_template_differs(old: Object, new: Object, reason: str | None) -> None:
    def deployment(container: Object) -> Object:
        template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container]}}
        return {"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}}

    pods = [{"metadata": {"name": f"{app}-1", "labels": {"app": app}}} for app in "ab"]
    found = restart("a", deployment(old), deployment(new), pods)
    assert (found and (found.pods, found.reason)) == (reason and (("a-1",), reason))


def test_shares_name_shadows_and_the_only_predictor_gets_all() -> None:
    one = SeldonDeployment.from_json(sdep(predictor("a")))
    two = SeldonDeployment.from_json(sdep(predictor("a"), predictor("b", traffic=40, shadow=True)))
    assert [str(item) for item in shares(one, two)] == ["a 100 %", "b (shadow) none → 40 %"]


def test_the_command_needs_something_to_plan(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("kind: Kustomization\n")
    assert CliRunner().invoke(main, ["plan"]).exit_code == 2
    result = CliRunner().invoke(main, ["plan", "-f", str(tmp_path / "kustomization.yaml")])
    assert (result.exit_code, "goes with -k" in result.output) == (1, True)


def test_json_holds_the_same() -> None:
    plan = ObjectPlan("ConfigMap", "team", "a", "created")
    assert json.loads(json.dumps(plan.as_json()))["outcome"] == "created"


def test_the_command_ends_with_4_where_something_would_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: colours}\ndata: {front: green}\n"
    with running_api(tmp_path / "home") as api:
        monkeypatch.setenv("SLIPWAY_HOME", str(api.paths.home))
        monkeypatch.delenv("KUBECONFIG", raising=False)

        def slipway(*words: str, text: str) -> tuple[int, str]:
            done = CliRunner().invoke(main, list(words), input=text)
            return done.exit_code, done.output

        assert slipway("plan", "-f", "-", "--exit-code", text=text)[0] == CHANGES
        assert slipway("apply", "-f", "-", text=text)[0] == 0
        assert slipway("plan", "-f", "-", "--exit-code", text=text)[0] == 0
        code, said = slipway("plan", "-f", "-", text=text.replace("green", "red"))
        assert (code, said.splitlines()) == (
            0,
            [
                "configmap/colours in default would be changed",
                "  data.front: green → red",
                "0 to create, 1 to change, 0 unchanged; Pods that restart: 0",
            ],
        )
        assert "run `slipway image build me/hello:1 FOLDER`" in slipway("plan", "-f", "-", text=POD_TEXT)[1]
        monkeypatch.setenv("KUBECONFIG", str(api.paths.kubeconfig))
        monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "elsewhere"))
        assert "warning" not in slipway("plan", "-f", "-", text=POD_TEXT)[1], "the images of that machine are not seen"
